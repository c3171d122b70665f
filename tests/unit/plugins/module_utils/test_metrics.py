"""What Prometheus' node exporter reads."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._criteria import State, judge, parse
from ansible_collections.slipway.release.plugins.module_utils._metrics import HELP, ended, render
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation

pytestmark = pytest.mark.promise("P2", "P4")

LABELS = {"application": "swarm", "release": "1.1.0"}
CRITERIA = parse([{"id": "R3", "title": "Slow", "probes": ["page"], "over": 5, "unit": "s", "looks": 3}])


def seen(
    probe: str, subject: str, value: float | None, *, ok: bool | None = True, of: float | None = None
) -> Observation:
    return Observation(probe, subject, "2026-11-24T02:00:00Z", value, "s", ok=ok, detail="as told", of=of)


def metrics(*observations: Observation) -> dict[str, float]:
    _, verdict = judge(CRITERIA, State(), observations)
    text = render(LABELS, (1000, 2000), verdict, observations)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = dict(line.rsplit(" ", 1) for line in lines)
    # what stands there twice, the node exporter refuses
    assert len(found) == len(lines)
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")] == list(
        dict.fromkeys(line.partition("{")[0] for line in lines)
    )
    return {
        name.replace('application="swarm",release="1.1.0"', "").replace("{,", "{"): float(found[name]) for name in found
    }


def test_each_kind_of_evidence_has_its_metric() -> None:
    found = metrics(
        seen("page", "/agents", 0.25),
        seen("job", "failed", 2, of=30),
        seen("job", "dead", 1, ok=False),
        seen("job", "retries", 4),
        seen("job", "latency mailers", 12.5),
        seen("query", "slower", 3, ok=False),
        seen("query", "new", 0),
        seen("figure", 'agents "online"', 450),
        seen("figure", "unseen", None, ok=None),
    )
    assert found == {
        "slipway_watch_last_look_timestamp_seconds{}": 1000,
        "slipway_watch_until_timestamp_seconds{}": 2000,
        "slipway_watch_breach{}": 0,
        'slipway_criterion_breaches{criterion="R3",mode="enforce"}': 0,
        'slipway_page_load_seconds{page="/agents"}': 0.25,
        'slipway_probe_failures{probe="figure"}': 0,
        'slipway_probe_failures{probe="job"}': 1,
        'slipway_probe_failures{probe="page"}': 0,
        'slipway_probe_failures{probe="query"}': 1,
        "slipway_jobs_failed{}": 2,
        "slipway_jobs_processed{}": 30,
        "slipway_jobs_dead{}": 1,
        'slipway_queue_wait_seconds{queue="mailers"}': 12.5,
        'slipway_slow_statements{kind="slower"}': 3,
        'slipway_slow_statements{kind="new"}': 0,
        'slipway_figure{figure="agents \\"online\\""}': 450,
    }
    assert {name.partition("{")[0] for name in found} == set(HELP) - {"slipway_watch_ended_timestamp_seconds"}


def test_what_was_seen_several_times_stands_there_once() -> None:
    found = metrics(
        *(seen("page", "/agents", value) for value in (9.0, 8.0, 0.5)),
        *(seen("job", "failed", failed, of=10) for failed in (1, 2, 0)),
    )
    assert found['slipway_page_load_seconds{page="/agents"}'] == 0.5
    assert (found["slipway_jobs_failed{}"], found["slipway_jobs_processed{}"]) == (3, 30)


def test_of_a_watch_that_is_over_its_end_alone_is_told() -> None:
    lines = ended(LABELS, "taken back", 5.0).splitlines()
    assert lines[2:] == [
        'slipway_watch_ended_timestamp_seconds{application="swarm",release="1.1.0",outcome="taken back"} 5.000'
    ]
