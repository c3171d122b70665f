"""A real run of ansible-playbook that writes a release's notes on the controller."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from tests.unit.plugins.action import unreachable

pytestmark = pytest.mark.promise("A1")

NOTES = {"version": "1.1.0", "date": "2026-11-23", "sections": {"Added": ["Exports."]}}


def test_notes_are_written_whole_for_all_to_read_and_nothing_that_was_planted_is_followed(tmp_path: Path) -> None:
    directory, other = tmp_path / "notes", tmp_path / "other"
    directory.mkdir()
    other.write_text("stays")
    (directory / "swarm-1.1.0.md").symlink_to(other)
    task = {"notes": NOTES, "directory": str(directory), "product": "swarm"}
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [{"slipway.release.write_notes": task}]}]
    done = unreachable.play(tmp_path, yaml.safe_dump(plays))
    assert done.returncode == 0, done.stdout
    assert other.read_text() == "stays"
    assert {path.name: stat.S_IMODE(path.lstat().st_mode) for path in directory.iterdir()} == {
        "swarm-1.1.0.md": 0o644,
        "swarm-1.1.0.txt": 0o644,
    }
    assert "Exports." in (directory / "swarm-1.1.0.md").read_text()
