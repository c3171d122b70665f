"""What becomes known of a release while the host looks after it: reports are real files, the probes beside them not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_conclude, _guard, _watch
from ansible_collections.slipway.release.plugins.module_utils._certificate import Certificate
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe_vulnerabilities import probe_reports
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils import scan_samples as samples
from tests.unit.plugins.module_utils.test_host_reports import CRITICAL, Found, made
from tests.unit.plugins.module_utils.test_watch import APPLICATION, CRITERIA, WELL, World, broken, seen

pytestmark = pytest.mark.promise("R5", "P5")

R5 = {"id": "R5", "title": "Vulnerable", "mode": "enforce", "probes": ["vulnerability", "exposure"]}
S5 = {**R5, "id": "S5", "title": "Weak", "mode": "warn", "over": 0, "unit": "warnings"}
HIGH = ("CVE-2026-0002", "zlib", "HIGH")


class Scanned(World):
    """A host on which a scanner leaves reports."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(root, monkeypatch, [*CRITERIA, R5, S5], **given)
        self.beside: list[Observation] = []

    def prober(
        self, _profile: object, _hidden: object, *, restarts: dict[str, int], counted: dict[str, Any]
    ) -> SimpleNamespace:
        def run(request: Any) -> SimpleNamespace:  # noqa: ANN401 - a Request
            self.asked.append(request.kinds)
            found, kept = list(self.sees()) + self.beside, counted.get("reports")
            if "vulnerabilities" in request.kinds:
                now = datetime.fromtimestamp(self.now, UTC)
                told, kept = probe_reports(Site(self.site.profile), request.reports, kept, now)
                found += told
            answer.counted = {"reports": kept}
            return SimpleNamespace(observations=tuple(found))

        answer = SimpleNamespace(run=run, restarts=restarts, counted={})
        return answer

    def pass_by(self, seconds: float) -> None:
        # the reader is a real process, which takes its time
        self.now += seconds if seconds == _watch.AGAIN else 0

    def write(self, version: str, *found: Found, age: timedelta = timedelta(0), name: str = "web.json") -> Path:
        at = datetime.fromtimestamp(self.now, UTC) - age
        document = samples.trivy(*found, ArtifactName=f"swarm:{version}", Metadata={}, Trivy=made(at))
        path: Path = self.site.ledger.root / "reports" / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(samples.written(document))
        return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scanned:
    return Scanned(tmp_path, monkeypatch)


def test_a_new_critical_one_takes_the_release_back(world: Scanned) -> None:
    world.write("1.1.0")
    world.write("1.0.0")
    for _ in range(5):
        assert world.look() == ("hold", 0)
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0")
    begun = world.now
    said, _ = world.look()
    assert said == (
        "R5 Vulnerable: new: 1 new of critical severity against 1.0.0; CVE-2026-0001 openssl: critical, openssl 3.0.1, "
        "fixed in 3.0.2; 1.1.0 was taken back, 1.0.0 runs and is well"
    )
    assert world.events == ["breach", "taken back"]
    assert "CVE-2026-0001 openssl: critical" in world.alerts[0]["reason"]
    # three looks saw it, as with any breach
    assert world.now - begun == 2 * _watch.AGAIN + 60


def test_where_no_report_lies_the_watch_is_as_it_was(world: Scanned) -> None:
    for _ in range(60):
        assert world.look() == ("hold", 0)
    assert world.look() == ("1.1.0 is proven", 0)
    assert world.alerts == []


def test_what_the_release_before_has_too_is_no_reason(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0", CRITICAL)
    for _ in range(10):
        assert world.look() == ("hold", 0)
    assert world.events == []


def test_what_a_deploy_was_told_counts_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waived = [{"id": CRITICAL[0], "until": "2999-12-31", "reason": "never called", "package": None}]
    world = Scanned(tmp_path, monkeypatch, security={"severity": "high", "waivers": waived})
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0")
    assert world.look() == ("hold", 0)
    world.write("1.1.0", CRITICAL, HIGH)
    world.look()
    assert world.events == ["breach", "taken back"]
    assert "CVE-2026-0002 zlib" in world.alerts[0]["reason"]


def test_what_is_no_policy_is_said_before_the_watch_begins(world: Scanned) -> None:
    with pytest.raises(SlipwayError, match="hand it on"):
        _watch.begin(world.site, "1.1.0", APPLICATION, CRITERIA, 60, {"waivers": [{"name": "x"}]})


def test_a_deploy_hands_on_what_counts(world: Scanned) -> None:
    ledger, before = world.site.ledger, Before("1.0.0", [], None)
    with ledger.locked():
        run = ledger.open_run("r1", "deploy", "anna@controller", "1.1.0")
        ledger.update(candidate=Candidate("1.1.0", "switched", before), current="1.0.0")
    told = {
        "run": {"token": run.token},
        "promote": True,
        "verdict": {},
        "observations": [],
        "keep": 5,
        "keep_days": 30.0,
    }
    watched = {"application": APPLICATION, "criteria": [R5], "undo_timeout": 60.0, "security": {"severity": "high"}}
    result = _call_conclude.answer(Module({**told, **watched}), world.site)
    assert result["not_watched"] is None
    settings = _guard.settings_of(ledger.root / "agent", "watch")
    assert settings is not None
    assert (settings["security"]["severity"], settings["security"]["warn"]) == ("high", "high")


def unread(world: Scanned) -> None:
    """Nobody looked at the release before."""
    world.write("1.1.0", CRITICAL)


def older(world: Scanned) -> None:
    """Nobody has looked at the release before since it became known."""
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0", age=timedelta(hours=12))


def stale(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL, age=timedelta(days=9))
    world.write("1.0.0")


def refused(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL).chmod(0o666)
    world.write("1.0.0")


def hostile(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL).write_bytes(b"[" * 1_000_000)
    world.write("1.0.0")


@pytest.mark.parametrize(
    "happen, said",
    [
        (unread, "1 critical may be new or not: CVE-2026-0001 in openssl"),
        (older, "1 critical may be new or not: CVE-2026-0001 in openssl"),
        (stale, "web.json's report for 1.1.0 has a database of 9 days ago, more than 7"),
        (refused, "others than root may write to it: chmod go-w"),
        (hostile, "web.json's report for 1.1.0 could not be read: is nested too deeply"),
    ],
)
def test_what_cannot_be_told_is_told_once_and_waits(world: Scanned, happen: Any, said: str) -> None:  # noqa: ANN401
    happen(world)
    for _ in range(2):
        assert world.look() == ("hold", 0)
    # which may be a report that is being written
    assert world.events == []
    for _ in range(20):
        assert world.look() == ("hold", 0)
    (alert,) = world.alerts
    assert (alert["event"], alert["next"]) == ("warning", "nothing is taken back for it: a person decides")
    assert said in alert["reason"]
    assert world.undone == []
    # known at last, it decides
    world.write("1.1.0", CRITICAL).chmod(0o644)
    world.write("1.0.0")
    world.look()
    assert world.events == ["warning", "breach", "taken back"]


def test_what_is_well_in_between_is_told_anew(world: Scanned) -> None:
    for _ in range(2):
        world.write("1.1.0").write_text("{")
        for _ in range(5):
            world.look()
        world.write("1.1.0")
        world.write("1.0.0")
        for _ in range(5):
            world.look()
    assert world.events == ["warning", "warning"]


def test_it_never_goes_back_to_more_of_them_and_says_so(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0", ("CVE-2020-1", "bash", "CRITICAL"), ("CVE-2020-2", "bash", "CRITICAL"))
    for _ in range(5):
        assert world.look() == ("inconclusive", 0)
    (alert,) = world.alerts
    assert alert["event"] == "warning"
    assert alert["reason"].startswith("R5 Vulnerable: going back is worse, a person decides: ")
    assert "CVE-2026-0001 openssl: critical" in alert["reason"]
    assert world.undone == []


def test_it_does_not_go_back_where_nobody_knows_what_that_brings_back(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0")
    world.write("1.0.0", name="worker.json").write_text("{")
    for _ in range(5):
        world.look()
    (alert,) = world.alerts
    assert (alert["event"], world.undone) == ("breach", [])
    assert alert["next"].startswith("nobody knows what going back would bring back: worker.json's report for 1.0.0 ")
    # nor when it has turned out that the release before has it too
    world.write("1.0.0", CRITICAL)
    world.write("1.0.0", name="worker.json")
    world.write("1.1.0", name="worker.json")
    assert world.look()[0].endswith("no report says any more that going back is better: a person decides")
    assert world.undone == []
    # what is broken as well decides by itself
    world.sees = broken
    for _ in range(3):
        world.look()
    assert world.undone == ["the host itself"]


def test_it_goes_back_only_where_nothing_is_lost(world: Scanned) -> None:
    world.applied = ["1"]
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0")
    for _ in range(3):
        world.look()
    (alert,) = world.alerts
    assert (alert["event"], alert["next"]) == ("breach", "the way back from 1.1.0 was not rehearsed")
    certificate = Certificate("1.1.0", "1" * 40, "b1", "now", migrations=["1"], old_code_wrong=[])
    with world.site.ledger.locked():
        world.site.ledger.save_certificate(certificate)
    world.look()
    assert world.events == ["breach", "taken back"]


def test_what_stands_open_decides_whatever_reports_say(world: Scanned) -> None:
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0", name="worker.json").write_text("{")
    world.beside = [seen("exposure", "ports of redis", ok=False)]
    world.look()
    assert world.events == ["breach", "taken back"]


def test_what_weighs_less_warns_until_no_report_says_it_any_more(world: Scanned) -> None:
    world.write("1.1.0", HIGH)
    world.write("1.0.0")
    for _ in range(5):
        assert world.look() == ("hold", 0)
    (alert,) = world.alerts
    assert alert["reason"] == "S5 Weak: CVE-2026-0002 zlib: high, zlib 3.0.1, fixed in 3.0.2"
    world.write("1.1.0")
    for _ in range(_watch.WELL):
        world.look()
    world.write("1.1.0", HIGH)
    for _ in range(5):
        world.look()
    assert world.events == ["warning", "warning"]


def test_what_one_look_saw_alone_is_forgotten(world: Scanned) -> None:
    """A scanner that is run anew for one release first, and a moment later for the other."""
    world.write("1.1.0", CRITICAL)
    world.write("1.0.0")
    sleep = world.pass_by

    def scans_the_other(seconds: float) -> None:
        sleep(seconds)
        world.write("1.0.0", CRITICAL)

    world.monkeypatch.setattr("time.sleep", scans_the_other)
    for _ in range(3):
        assert world.look() == ("hold", 0)
    assert world.events == []


def test_where_no_criterion_asks_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    world.sees = lambda: WELL
    world.look()
    assert "vulnerabilities" not in world.asked[-1]


def test_what_goes_on_does_not_grow_what_is_remembered(world: Scanned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watch, "_MOST_BREACHES", 4)
    world.applied = ["1"]
    many = [(f"CVE-2026-{number}", "openssl", "CRITICAL") for number in range(500)]
    world.write("1.1.0", *many)
    world.write("1.0.0")
    path = world.site.ledger.root / "watch" / "state.json"
    sizes = []
    for _ in range(12):
        world.look()
        sizes.append(path.stat().st_size)
    assert sizes[-1] - sizes[5] < 50
    assert sizes[-1] < 50_000
