from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench._results import OURS, RATIO, Circumstances, Line, Run, judged, keep, kept, latest, plot, read_line, table

COMMIT, OLD = "a" * 40, "b" * 40
MACHINE = "2 x Some | Processor <9>"
LOGS = Circumstances("logs", "2026-11-24T10:00:00+00:00", COMMIT, MACHINE)
GOOD = Line("logs", 10.0, 20.0, "s", 0.5, 1.0, ok=True)
BAD = Line("judge", 24.0, 240.0, "false rollbacks", 0.1, 12.0, ok=False, bar_of=OURS)


def printed(line: Line, **other: object) -> str:
    shown = {name: getattr(line, name) for name in Line.__dataclass_fields__}
    return json.dumps({**shown, **other})


def test_a_line_is_read_as_it_was_printed() -> None:
    assert read_line(printed(GOOD) + "\n") == GOOD
    assert read_line(printed(replace(GOOD, peer=0, ratio=None))) == replace(GOOD, peer=0, ratio=None)


def test_what_is_told_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        Line.of("fleet wall", "s", (170.123456, 160.0), bar=1.15, ok=True),
        Line.of("logs", "s", (10, 20), bar=1, ok=False, ratio=0.43219),
        Line.of("availability", "failed requests", (3, 0), bar=0, ok=False, bar_of=OURS),
        Line.of("judge errors", "errors until found", (float("inf"), 240), bar=60, ok=False, bar_of=OURS),
    ]
    assert [line.tell() for line in lines] == [True, False, False, False]
    assert [read_line(text) for text in capsys.readouterr().out.splitlines()] == lines
    assert [(line.ours, line.peer, line.ratio) for line in lines] == [
        (170.1235, 160.0, 1.0633),
        (10, 20, 0.4322),
        (3, 0, None),
        (None, 240, None),
    ]


@pytest.mark.parametrize(
    "name, bar_of",
    [
        ("logs", RATIO),
        ("judge", OURS),
        ("judge errors", OURS),
        ("availability", OURS),
        ("availability haproxy longest", OURS),
        ("availability haproxy p99 to control", RATIO),
    ],
)
def test_what_the_bar_of_an_older_line_is_of_is_known_by_its_name(name: str, bar_of: str) -> None:
    older = json.loads(printed(replace(GOOD, name=name)))
    del older["bar_of"]
    assert read_line(json.dumps(older)) == replace(GOOD, name=name, bar_of=bar_of)


@pytest.mark.parametrize(
    "text",
    [
        "logs: pair 1: ours 10.00 s",
        "{",
        '{"name": "logs"}',
        printed(GOOD, more=1),
        printed(GOOD, ok="yes"),
        printed(GOOD, ratio="0.5"),
        printed(GOOD, ratio=float("nan")),
        printed(GOOD, bar=None),
        printed(GOOD, bar_of="peer"),
        "[" + printed(GOOD) + "]",
    ],
)
def test_what_is_no_result_is_not_taken_for_one(text: str) -> None:
    assert read_line(text) is None


@pytest.mark.parametrize(
    "lines, code, failure",
    [
        ([GOOD], 0, ""),
        ([GOOD, BAD], 1, ""),
        ([], 0, "it ended with code 0 and without a result"),
        ([], 2, "it ended with code 2 and without a result"),
        ([GOOD], 1, "it ended with code 1 before it had all results"),
    ],
)
def test_a_benchmark_that_broke_is_told_from_one_that_missed_its_bar(
    lines: list[Line], code: int, failure: str
) -> None:
    run = judged(LOGS, ["begins\n", *(printed(line) + "\n" for line in lines)], code)
    assert (list(run.lines), run.failure) == (lines, failure)


def test_what_is_kept_is_what_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "build/bench/results.jsonl"
    assert kept(path) == []
    runs = [Run(LOGS, (GOOD, BAD)), Run(replace(LOGS, benchmark="judge"), (), "it ended with code 1")]
    for run in runs:
        keep(path, run)
    with path.open("a") as stream:
        stream.write('{"benchmark": "ba')
    assert kept(path) == runs


def test_the_last_run_on_this_machine_counts() -> None:
    old, other = replace(LOGS, date="2026-11-20"), replace(LOGS, machine="another")
    gone = replace(LOGS, benchmark="gone")
    runs = [Run(old, (BAD,)), Run(LOGS, (GOOD,)), Run(other, (BAD,)), Run(gone, (BAD,))]
    assert latest(runs, MACHINE, ["judge", "logs"]) == [Run(LOGS, (GOOD,))]


def test_without_results_the_page_says_so() -> None:
    assert table([], COMMIT, MACHINE, ["logs"]).endswith("\nNothing was measured yet.\n")
    assert "Nothing was measured yet." in plot([], MACHINE)


def rows(page: str) -> list[list[str]]:
    text = page.replace("\\|", "/")
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")][2:]


def test_the_table_has_each_line_and_what_was_not_measured() -> None:
    elsewhere = Circumstances("judge", "2026-11-20T10:00:00+00:00", OLD + "+", MACHINE)
    broken = Run(replace(LOGS, benchmark="backup"), (), "it ended with code 2")
    page = table(
        [broken, Run(elsewhere, (BAD,)), Run(LOGS, (GOOD,))], COMMIT, MACHINE, ["backup", "judge", "logs", "restore"]
    )
    assert "Machine: 2 x Some \\| Processor &lt;9&gt;. Commit: `aaaaaaaaaa`;" in page
    assert rows(page) == [
        ["backup", "", "", "**NOT OK**", "it ended with code 2", "2026-11-24"],
        [
            "judge",
            "0.1",
            "ours at most 12",
            "**NOT OK**",
            "24, 240 false rollbacks",
            "2026-11-20 on `bbbbbbbbbb` and changes",
        ],
        ["logs", "0.5", "1", "ok", "10, 20 s", "2026-11-24"],
        ["restore", "", "", "not measured", "", ""],
    ]


def test_the_plot_has_a_bar_for_each_ratio_and_a_stroke_for_its_bar() -> None:
    far = replace(GOOD, name="a <far> & wide", ratio=9.0, ok=False)
    none = replace(GOOD, name="no peer", peer=0, ratio=None)
    zero = replace(BAD, name="availability", peer=50, ratio=0.0, bar=0, ok=True)
    text = plot([Run(LOGS, (GOOD, far, none, BAD, zero))], MACHINE)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme: dark" in text
    root = ET.fromstring(text)  # noqa: S314 - written above
    space = "{http://www.w3.org/2000/svg}"
    said = [item.text for item in root.iter(f"{space}text")]
    assert MACHINE in said
    assert "no peer" not in said
    assert {"a <far> & wide", "9, bar 1: NOT OK", "0.5, bar 1", "0.1, bar 0.05: NOT OK", "0, bar 0"} <= set(said)
    tracks = {item.get("width") for item in root.iter(f"{space}rect") if item.get("class") == "track"}
    bars = [item for item in root.iter(f"{space}rect") if item.get("class") in {"ok", "bad"}]
    assert [(item.get("class"), float(item.get("width", ""))) for item in bars] == [
        ("ok", 90),
        ("bad", float(tracks.pop() or "")),
        ("bad", 18),
        ("ok", 0),
    ]
    assert [float(item.get("x1", "")) - 290 for item in root.iter(f"{space}line")] == [180, 180, 9, 0]
