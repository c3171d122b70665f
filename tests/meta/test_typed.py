"""What the pages tell people to type is found, and counts as typed only when a test typed it and passed."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests import typed

CASE = (
    '<testcase classname="tests.a" name="{}">{}<properties><property name="command" value="{}"/></properties>'
    "</testcase>"
)


def every() -> set[str]:
    return {command for commands in typed.commands().values() for command in commands}


@pytest.fixture
def coverage() -> ModuleType:
    # it has no suffix
    loader = SourceFileLoader("coverage_script", str(typed.ROOT / "scripts/coverage"))
    module = module_from_spec(spec_from_loader("coverage_script", loader) or pytest.fail("no script"))
    loader.exec_module(module)
    return module


def test_no_command_hides_between_other_fences() -> None:
    assert len(every()) > 100
    programs = {command.split()[0] for command in every()}
    fences = [
        (page, language, line)
        for page in typed.PAGES
        for section in typed.sections(page)
        for language, block in section.blocks
        for line in block.splitlines()
    ]
    assert {language for _, language, _ in fences} <= {"", "json", "markdown", "yaml"}
    assert [(page, line) for page, _, line in fences if line.split()[:1] and line.split()[0] in programs] == []


def test_what_is_executed_elsewhere_is_on_a_page_and_its_file_there() -> None:
    assert typed.ELSEWHERE.keys() <= every()
    assert [name for name in typed.ELSEWHERE.values() if not (typed.ROOT / name).is_file()] == []


def test_what_failed_was_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[tuple[str, object]] = []
    monkeypatch.setattr(typed, "_notes", notes)
    typed.execute(["good"], "true", fails=False, directory=typed.ROOT)
    with pytest.raises(AssertionError):
        typed.execute(["bad"], "false", fails=False, directory=typed.ROOT)
    assert notes == [("command", "good")]


def test_a_command_that_no_passed_test_typed_is_named(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "page.md").write_text("    good  # as it is\n    bad \\\n      --very\n\n```sh\nnew\n```\n")
    cases = CASE.format("c", "", "good") + CASE.format("b", "<failure/>", "bad --very")
    (tmp_path / "unit.xml").write_text(f"<testsuite>{cases}</testsuite>")
    monkeypatch.setattr(typed, "ROOT", tmp_path)
    monkeypatch.setattr(typed, "PAGES", ["page.md"])
    monkeypatch.setattr(coverage, "RESULTS", tmp_path)
    typists = coverage.passed("command")
    assert typists == {"good": {"tests/a.py::c"}}
    assert coverage.untyped(typists) == ["page.md: no test types `bad --very`", "page.md: no test types `new`"]


@pytest.mark.parametrize("ended", ["failure", "error"])
def test_a_test_passed_when_it_failed_with_none_of_its_parameters(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: str
) -> None:
    cases = [("good[1]", ""), ("good[2]", ""), ("bad[1]", ""), ("bad[2]", f"<{ended}/>"), ("bad[3]", "")]
    text = "".join(CASE.format(name, end, "typed") for name, end in cases) + CASE.format("bad[4]", "", "typed too")
    (tmp_path / "unit.xml").write_text(f"<testsuite>{text}</testsuite>")
    monkeypatch.setattr(coverage, "RESULTS", tmp_path)
    assert coverage.passed("command") == {"typed": {"tests/a.py::good"}}


def test_what_was_skipped_proves_nothing_and_takes_nothing_away(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cases = [("good[1]", ""), ("good[2]", "<skipped/>"), ("never", "<skipped/>")]
    text = "".join(CASE.format(name, end, name) for name, end in cases)
    (tmp_path / "unit.xml").write_text(f"<testsuite>{text}</testsuite>")
    monkeypatch.setattr(coverage, "RESULTS", tmp_path)
    assert coverage.passed("command") == {"good[1]": {"tests/a.py::good"}}


def test_the_check_fails_where_a_promise_is_not_proven_though_the_page_says_so_too(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "promises.yml").write_text("G1: {text: All tests pass}\nG2: {text: Reviewed}\n")
    for name, value in {"RESULTS": tmp_path, "PROMISES": tmp_path / "promises.yml", "TABLE": tmp_path / "page"}.items():
        monkeypatch.setattr(coverage, name, value)
    monkeypatch.setattr(typed, "PAGES", [])
    case = CASE.format("b", "", "G1").replace('"command"', '"promise"')
    (tmp_path / "unit.xml").write_text(f"<testsuite>{case}</testsuite>")
    monkeypatch.setattr("sys.argv", ["coverage"])
    assert coverage.main() == 0
    assert "| G2 | Reviewed |  | not yet |" in (tmp_path / "page").read_text()
    monkeypatch.setattr("sys.argv", ["coverage", "--check"])
    assert coverage.main() == 1
    assert capsys.readouterr().err == "G2: no test proves it\n"
    (tmp_path / "unit.xml").write_text(f"<testsuite>{case}{case.replace('G1', 'G2')}</testsuite>")
    monkeypatch.setattr("sys.argv", ["coverage"])
    assert coverage.main() == 0
    monkeypatch.setattr("sys.argv", ["coverage", "--check"])
    assert coverage.main() == 0
