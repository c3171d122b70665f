"""What the repository promises of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 1_000_000


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_large_file_is_in_git() -> None:
    assert [path for path in tracked() if path.stat().st_size > LARGEST] == []


def test_no_mirror_of_this_machine_stands_in_a_file() -> None:
    sources = "".join(path.read_text() for path in Path("/etc/apt/sources.list.d").glob("*.sources"))
    hosts = {host for host in re.findall(r"https?://([^/\s]+)", sources) if not host.endswith("debian.org")}
    found = [path for path in tracked() for host in hosts if host.encode() in path.read_bytes()]
    assert found == []


@pytest.mark.promise("U1")
def test_every_playbook_is_one_that_ansible_can_read() -> None:
    playbooks = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "playbooks").glob("*.yml"))]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "--syntax-check", "deploy.yml", "rollback.yml", *playbooks],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.promise("U1")
def test_the_root_has_the_names_that_people_type() -> None:
    assert (ROOT / "deploy.yml").resolve() == ROOT / "playbooks/deploy.yml"
    assert (ROOT / "rollback.yml").resolve() == ROOT / "playbooks/rollback.yml"
    assert (ROOT / "prod").resolve() == ROOT / "inventory/prod"


def test_no_error_is_ignored_in_yaml() -> None:
    files = [path for name in ("playbooks", "roles", "molecule") for path in (ROOT / name).rglob("*.yml")]
    assert [path for path in files if "ignore_errors" in path.read_text()] == []


def test_every_file_that_a_page_links_to_exists() -> None:
    pages = [path for path in tracked() if path.suffix == ".md" and not {"examples", "collections"} & set(path.parts)]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_verb_has_a_page() -> None:
    verbs = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert verbs <= {path.stem for path in (ROOT / "docs").glob("*.md")}


def test_every_promise_that_a_test_claims_is_one_and_says_what_keeps_it() -> None:
    promises = yaml.safe_load((ROOT / "docs/promises.yml").read_text())
    claimed = {
        identity
        for path in (ROOT / "tests").rglob("*.py")
        for marker in re.findall(r"\.promise\(([^)]*)\)", path.read_text())
        for identity in re.findall(r"\"([A-Z]\d)\"", marker)
    }
    assert claimed <= set(promises)
    for identity, promise in promises.items():
        assert set(promise) <= {"text", "kept_by"}, identity
        assert all((ROOT / place).exists() for place in promise.get("kept_by", ())), identity
    kept = {identity for identity, promise in promises.items() if promise.get("kept_by")}
    assert claimed == kept
