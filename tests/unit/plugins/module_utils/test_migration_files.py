from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._migration_files import migration_files, version_of


@pytest.mark.parametrize(
    "path, version",
    [
        ("20260101000000_add_tasks.rb", "20260101000000"),
        ("2026/20260101000000_add_tasks.rb", "20260101000000"),
        # Rails records a number
        ("001_begin.rb", "1"),
        ("2026a_odd.rb", None),
        ("20260101000000_add_tasks.rb.orig", None),
        ("20260101000000.rb", None),
        ("README.md", None),
    ],
)
def test_a_version_is_the_number_that_rails_records(path: str, version: str | None) -> None:
    assert version_of(path) == version


def test_files_are_found_in_subdirectories_too_and_come_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "2026").mkdir()
    for name in ("2026/10_last.rb", "009_middle.rb", "2_first.rb", "2026a_odd.rb"):
        (tmp_path / name).touch()
    assert list(migration_files(tmp_path)) == ["2", "9", "10"]
    assert migration_files(tmp_path)["10"] == [tmp_path / "2026/10_last.rb"]
    assert migration_files(tmp_path / "absent") == {}
