from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench import measure_availability
from bench.measure_availability import Figures, judge, moves, publish_script
from lab import swarm
from lab._common import ROOT
from lab.load import Effects, Request, Summary


def entry(plan: str, at: str) -> str:
    return json.dumps({"at": f"2026-11-23T12:00:{at}Z", "plan": plan, "step": "x", "event": "begin"})


def test_containers_move_in_the_switch_the_rollback_and_the_conclusion() -> None:
    plans = [
        ("stage", "01"),
        ("switch", "02"),
        ("switch", "05"),
        ("conclude", "09"),
        ("rollback", "20"),
        ("stage", "30"),
    ]
    begun = 1795435200
    assert moves(entry(*item) for item in plans) == [
        (begun + 2, begun + 6),
        (begun + 9, begun + 10),
        (begun + 20, begun + 21),
    ]


def test_each_second_release_brings_one_more_migration(tmp_path: Path) -> None:
    repository = tmp_path / "swarm.git"
    compose = [sys.executable, str(ROOT / "examples/swarm/compose_repository.py"), "--bare", str(repository)]
    subprocess.run(compose, check=True)
    script = publish_script(4).replace(swarm.REPOSITORY, str(repository))
    subprocess.run(["bash", "-ec", script], check=True)
    counts = []
    for number in range(1, 5):
        listed = subprocess.run(
            ["git", "-C", str(repository), "ls-tree", "--name-only", f"1.9.{number}", "db/migrate/"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        counts.append(sum("_add_note" in name for name in listed))
    assert counts == [0, 1, 1, 2]


def figures(*, failed: int = 0, lost: int = 0, longest: float = 1.0, p99: float = 0.3) -> Figures:
    found = Summary(100, Counter({"page: status 502": failed}), 0, 0.1, p99, (Request("page", 0, longest),))
    control = Summary(100, Counter(), 0, 0.1, 0.2, (Request("page", 0, 0.3),))
    return Figures(found, found, control, Effects(9, 0, 0, 9, lost, 0, Counter(), Counter(), 1.0, 0), 60)


@pytest.mark.parametrize(
    "mine, held",
    [
        (figures(), [True, True, True, True]),
        (figures(failed=1), [False, True, True, True]),
        (figures(lost=1), [True, False, True, True]),
        (figures(longest=2.0), [True, True, False, True]),
        (figures(p99=0.31), [True, True, True, False]),
    ],
)
def test_each_bar_can_be_missed(mine: Figures, held: list[bool], capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("haproxy", mine, figures(failed=50)) == held
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["ok"] for line in lines] == held
    assert [line["bar_of"] for line in lines] == ["ours", "ours", "ours", "ratio"]
    assert lines[0]["peer"] == 50


@pytest.mark.parametrize("seen, code", [(50, 0), (0, 1)])
def test_it_proves_nothing_where_the_peer_loses_nothing(
    seen: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure_availability, "stop_when_told", lambda _: None)
    monkeypatch.setattr(measure_availability, "ours", lambda _: figures())
    monkeypatch.setattr(measure_availability, "peers", lambda: {"compose up -d": figures(failed=seen)})
    assert measure_availability.main() == code
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["name"], last["ours"], last["peer"], last["ok"]) == ("availability", 0, seen, code == 0)
