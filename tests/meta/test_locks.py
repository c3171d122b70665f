"""What a controller of a bundle gets is what is tested here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.promise("X1")


def pins(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Each package's version and hashes."""
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for entry in entries:
        head = re.match(r"([a-z0-9-]+)==(\S+)", entry)
        assert head, entry
        found[head[1]] = (head[2], frozenset(re.findall(r"sha256:([0-9a-f]{64})", entry)))
    return found


def test_what_a_run_needs_is_pinned_as_what_was_tested() -> None:
    whole, run = pins("requirements.lock"), pins("requirements-run.lock")
    assert {name: whole[name] for name in run} == run
    assert all(hashes for _, hashes in run.values())
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[<>=]", item)[0] for item in needed} | {"pip"} <= set(run)
    assert "pytest" not in run


def test_a_run_needs_no_collection_but_this_one() -> None:
    used = set()
    for path in [*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "roles").rglob("*.yml")]:
        if "awx" not in path.relative_to(ROOT).parts and path.name != "awx.yml":
            used |= set(re.findall(r"^\s*(?:- )?([a-z_]+\.[a-z_]+)\.[a-z_]+:", path.read_text(), re.MULTILINE))
    assert used == {"ansible.builtin", "slipway.release"}
