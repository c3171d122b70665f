"""What a controller of a bundle gets is what is tested here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.promise("X1")

RANGE = re.compile(r"([a-z0-9-]+)>=([\d.]+),<([\d.]+)")


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


def test_both_ends_of_what_is_supported_are_installed_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lowest, newest = pins("requirements-lowest.lock"), pins("requirements.lock")
    ranges = {found[1]: found.groups()[1:] for item in project if (found := RANGE.fullmatch(item))}
    assert len(ranges) == len(project)
    for name, (low, _) in ranges.items():
        version, hashes = lowest[name]
        assert re.fullmatch(rf"{re.escape(low)}(\.0)*", version), name
        assert hashes
    low, end = ranges["ansible-core"]
    major, minor = map(int, end.split("."))
    assert newest["ansible-core"][0].startswith(f"{major}.{minor - 1}.")
    said = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    assert said == f">={low}.0,<{end}.0"


def test_a_run_needs_no_collection_but_this_one() -> None:
    used = set()
    for path in [*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "roles").rglob("*.yml")]:
        if "awx" not in path.relative_to(ROOT).parts and path.name != "awx.yml":
            used |= set(re.findall(r"^\s*(?:- )?([a-z_]+\.[a-z_]+)\.[a-z_]+:", path.read_text(), re.MULTILINE))
    assert used == {"ansible.builtin", "slipway.release"}
