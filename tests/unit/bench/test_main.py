from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench import __main__ as command
from bench._results import kept
from lab._common import ROOT

RESULT = {"name": "x", "ours": 1, "peer": 2, "unit": "s", "ratio": 0.5, "bar": 1, "ok": True}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Benchmarks that are there at once, and pages of their own."""
    for name in command.TRIALS & set(os.environ):
        monkeypatch.delenv(name)
    (tmp_path / "bench").mkdir()
    (tmp_path / "docs").mkdir()
    scripts = {"fine": f"echo '{json.dumps(RESULT)}'", "broken": "echo half; exit 3", "run": "exit 4"}
    for name, script in scripts.items():
        (tmp_path / "bench" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bench" / name).chmod(0o755)
    (tmp_path / "bench/linked").symlink_to("run")
    (tmp_path / "bench/measure_fine.py").write_text("")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "BENCHMARKS", tmp_path / "bench")
    monkeypatch.setattr(command, "RESULTS", tmp_path / "build/bench/results.jsonl")
    monkeypatch.setattr(command, "PAGE", tmp_path / "docs/benchmarks-results.md")
    monkeypatch.setattr(command, "PLOT", tmp_path / "docs/benchmarks.svg")
    monkeypatch.setattr(command, "commit", lambda: "a" * 40)
    return tmp_path


def test_every_executable_of_the_repository_is_a_benchmark_with_a_module() -> None:
    names = command.every_benchmark(ROOT / "bench")
    assert {"judge", "logs", "availability"} <= set(names)
    assert all((ROOT / f"bench/measure_{name}.py").exists() for name in names)
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert [name for name in names if f"`bench/{name}`" not in page] == []


def test_one_that_fails_does_not_end_the_others(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 1
    runs = kept(place / "build/bench/results.jsonl")
    assert [(run.of.benchmark, len(run.lines), run.failure) for run in runs] == [
        ("broken", 0, "it ended with code 3 and without a result"),
        ("fine", 1, ""),
        ("linked", 0, "it ended with code 4 and without a result"),
    ]
    assert {run.of.commit for run in runs} == {"a" * 40}
    assert "half\n" in capfd.readouterr().out
    page = (place / "docs/benchmarks-results.md").read_text()
    assert "| x | 0.5 | 1 | ok |" in page
    assert "| broken | | | **NOT OK** |" in page
    assert ">0.5, bar 1<" in (place / "docs/benchmarks.svg").read_text()


def test_some_can_be_chosen(place: Path) -> None:
    assert command.main(["--only", "fine"]) == 0
    assert [run.of.benchmark for run in kept(place / "build/bench/results.jsonl")] == ["fine"]
    assert "| linked | | | not measured |" in (place / "docs/benchmarks-results.md").read_text()


def test_an_unknown_name_is_refused_before_anything_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "fine,fien"])
    assert "there is no benchmark fien: there are broken, fine, linked" in capsys.readouterr().err
    assert not (place / "build").exists()


def test_what_was_only_tried_out_is_not_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_BENCH_DAYS", "200")
    assert command.main(["--only", "fine"]) == 0
    assert not (place / "build").exists()
    assert not (place / "docs/benchmarks.svg").exists()


def test_every_variable_that_makes_a_benchmark_smaller_is_known() -> None:
    read = {
        name
        for path in (ROOT / "bench").glob("*.py")
        for name in path.read_text().replace('"', " ").split()
        if name.startswith("SLIPWAY_BENCH_")
    }
    assert read - {"SLIPWAY_BENCH_SITE"} == {name for name in read if name in command.TRIALS} == command.TRIALS


def test_the_machine_is_named() -> None:
    assert command.machine().startswith(f"{os.cpu_count()} x ")
