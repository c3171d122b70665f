from __future__ import annotations

from pathlib import Path

import pytest

from lab import _common
from lab._common import LabError, digest, run


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "one").write_text("1")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "two").write_text("2")
    return tmp_path


def test_a_directory_that_did_not_change_has_the_same_digest(context: Path) -> None:
    assert digest("x", context) == digest("x", context)


def test_contents_names_and_modes_count(context: Path) -> None:
    seen = {digest(context)}
    (context / "inner" / "two").write_text("3")
    seen.add(digest(context))
    (context / "inner" / "two").rename(context / "inner" / "three")
    seen.add(digest(context))
    (context / "one").chmod(0o755)
    seen.add(digest(context))
    assert len(seen) == 4


def test_texts_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_compiled_python_does_not_count(context: Path) -> None:
    before = digest(context)
    (context / "__pycache__").mkdir()
    (context / "__pycache__" / "one.pyc").write_text("x")
    assert digest(context) == before


def test_a_failure_is_told_by_its_last_line_and_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_common, "BUILD", tmp_path)
    with pytest.raises(LabError, match=r"ended with 3: second$"):
        run(["bash", "-c", "echo first >&2; echo second >&2; exit 3"])
    assert (tmp_path / "failed.log").read_text() == "first\nsecond\n"


def test_bytes_go_in_by_stdin() -> None:
    assert run(["cat"], stdin=b"secret") == "secret"
