"""Reports that a scanner leaves on the host: real files, read by a real process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _host_reports
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._guard import packed
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Release
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe_vulnerabilities import probe_reports
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._scan_reports import SIZE_LIMIT
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._vulnerabilities import Policy, Waiver

from tests.unit.plugins.module_utils import scan_samples as samples
from tests.unit.plugins.module_utils.application import PROFILE

pytestmark = pytest.mark.promise("R5")

NOW, POLICY = datetime(2026, 11, 23, 8, tzinfo=UTC), Policy()
CRITICAL = ("CVE-2026-0001", "openssl", "CRITICAL")
ROOT = Path(__file__).parents[4]
Found = tuple[str, str, str]


def made(moment: datetime) -> dict[str, Any]:
    return {"Version": "0.70.0", "VulnerabilityDB": {"UpdatedAt": moment.isoformat()}}


class Counting(HostRunner):
    """The real runner, and how often something was run."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def run(self, *given: Any, **options: Any) -> Completed:  # noqa: ANN401 - handed on
        self.runs += 1
        return super().run(*given, **options)


class Reports:
    """A site on which 1.1.0 stands and 1.0.0 stands behind it, and the directory of its reports."""

    def __init__(self, root: Path) -> None:
        self.runner = Counting()
        profile = Profile.parse({**PROFILE, "state_directory": str(root), "directory": str(root / "app")})
        self.site = Site(profile, runner=self.runner)
        self.place = self.site.ledger.root / "reports"
        ledger = self.site.ledger
        with ledger.locked():
            for version, letter in (("1.0.0", "b"), ("1.1.0", "a")):
                ledger.save_release(Release(version, letter * 40, {}, {}, []))
            ledger.update(candidate=Candidate("1.1.0", "switched", Before("1.0.0", [], None)), current="1.0.0")
            ledger.enter("switched")
            ledger.update(candidate=None, current="1.1.0")
        self.last: dict[str, Any] | None = None

    def write(self, version: str, *found: Found, name: str = "web.json", at: datetime = NOW) -> Path:
        about = f"slipway/swarm-{name.partition('.')[0]}:{version}"
        document = samples.trivy(*found, ArtifactName=about, Metadata={}, Trivy=made(at))
        return self.put(version, name, samples.written(document))

    def put(self, version: str, name: str, content: bytes) -> Path:
        path = self.place / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(".new").write_bytes(content)
        path.with_name(".new").replace(path)
        return path

    def look(self, policy: Policy = POLICY, now: datetime = NOW) -> list[Observation]:
        found, kept = probe_reports(self.site, policy, self.last, now)
        # through the watch's memory
        self.last = json.loads(json.dumps(kept))
        return found

    def told(self, policy: Policy = POLICY, now: datetime = NOW) -> dict[str, tuple[float | None, bool | None]]:
        return {item.subject: (item.value, item.ok) for item in self.look(policy, now)}

    def said(self) -> str:
        (text,) = [item.detail for item in self.look() if item.subject == "new"]
        return text


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path)


def test_where_no_report_lies_nothing_is_said_and_nothing_is_run(reports: Reports) -> None:
    assert reports.look() == []
    reports.write("1.0.0", CRITICAL)
    reports.write("0.9.0", CRITICAL)
    (reports.place / "1.1.0").mkdir()
    (reports.place / "1.1.0" / ".new").write_text("half of a repo")
    assert reports.look() == []
    assert reports.runner.runs == 0


def test_what_the_release_before_has_not_is_new(reports: Reports) -> None:
    reports.write("1.1.0", CRITICAL)
    reports.write("1.0.0")
    found = reports.look()
    assert {item.subject: (item.value, item.ok) for item in found} == {
        "CVE-2026-0001 openssl": (None, False),
        "new": (1, False),
        "way back": (0, True),
    }
    assert found[0].detail == "critical, openssl 3.0.1, fixed in 3.0.2"
    reports.write("1.0.0", CRITICAL)
    # nothing else would say that it is new no more
    well = {"new": (0, True), "way back": (0, True), "CVE-2026-0001 openssl": (0, True)}
    assert reports.told() == well
    reports.put("1.1.0", "worker.json", b"{")
    assert reports.told() == {"new": (0, None), "way back": (None, None)}
    (reports.place / "1.1.0" / "worker.json").unlink()
    assert [reports.told() for _ in range(2)] == [well, well]


def test_what_counts_is_what_counts_in_a_deploy(reports: Reports) -> None:
    reports.write("1.1.0", CRITICAL, ("CVE-2026-0002", "zlib", "HIGH"))
    reports.write("1.0.0")
    assert reports.told()["CVE-2026-0002 zlib"] == (1, True)
    reports.last = None
    waived = Policy(waivers=(Waiver("CVE-2026-0001", "2026-11-23", "never called"),))
    assert reports.told(waived)["new"] == (0, True)
    reports.last = None
    assert reports.told(Policy(severity="high"))["new"] == (2, False)


def test_it_is_read_again_when_a_file_changed_or_a_day_is_over(reports: Reports) -> None:
    path = reports.write("1.1.0")
    reports.write("1.0.0")
    for minutes in range(5):
        found = reports.look(now=NOW + timedelta(minutes=minutes))
        assert {item.at for item in found} == {f"2026-11-23T08:0{minutes}:00.000Z"}
    assert reports.runner.runs == 1
    # of the same length, and a file of its own
    reports.write("1.1.0")
    reports.look()
    assert reports.runner.runs == 2
    os.utime(path, ns=(1, 1))
    reports.look()
    assert reports.runner.runs == 3
    reports.write("1.0.0", CRITICAL)
    assert reports.told()["way back"] == (1, False)
    assert reports.runner.runs == 4
    # what is being written is not one yet
    (path.parent / ".web.json").write_text("{")
    reports.look()
    assert reports.runner.runs == 4
    stale = NOW + timedelta(days=8)
    assert reports.told(now=stale)["new"] == (0, None)
    assert reports.runner.runs == 5


def test_a_database_that_is_stale_says_nothing(reports: Reports) -> None:
    reports.write("1.1.0", CRITICAL, at=NOW - timedelta(days=9))
    reports.write("1.0.0")
    assert reports.told()["new"] == (0, None)
    assert "web.json's report for 1.1.0 has a database of 9 days ago, more than 7" in reports.said()


def test_an_older_database_does_not_show_that_the_release_before_has_it_not(reports: Reports) -> None:
    known = ("CVE-2026-0009", "zlib", "CRITICAL")
    reports.write("1.1.0", CRITICAL, known)
    reports.write("1.0.0", known, at=NOW - timedelta(hours=6))
    assert reports.told() == {"new": (0, None), "way back": (None, None)}
    assert reports.said() == (
        "0 new of critical severity against 1.0.0; web.json looked at 1.0.0 with an older database than at 1.1.0; "
        "1 critical may be new or not: CVE-2026-0001 in openssl"
    )
    # one run of a scanner takes a while
    reports.write("1.0.0", known, at=NOW - timedelta(minutes=50))
    assert reports.told()["new"] == (1, False)


@pytest.mark.parametrize(
    "name, why", [(None, "there is no report for 1.0.0"), ("worker.json", "there is no report of web.json for 1.0.0")]
)
def test_a_file_is_compared_with_that_of_the_same_name(reports: Reports, name: str | None, why: str) -> None:
    reports.write("1.1.0", CRITICAL)
    if name:
        reports.write("1.0.0", name=name)
    assert reports.told()["new"] == (0, None)
    said = reports.said()
    assert why in said
    assert said.endswith("1 critical may be new or not: CVE-2026-0001 in openssl")


def test_a_report_in_another_release_s_directory_is_none(reports: Reports) -> None:
    reports.write("1.0.0")
    content = reports.write("1.0.0", CRITICAL).read_bytes()
    reports.put("1.1.0", "web.json", content)
    assert reports.told()["new"] == (0, None)
    assert "web.json's report for 1.1.0 is about slipway/swarm-web:1.0.0" in reports.said()


def linked(path: Path) -> None:
    path.rename(path.with_name(".elsewhere"))
    path.symlink_to(path.with_name(".elsewhere"))


def linked_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to(path.parent.with_name("elsewhere"))


def of_another_kind(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def become(path: Path) -> None:
        path.unlink()
        make(path)

    return become


def many(path: Path) -> None:
    for number in range(60):
        path.with_name(f"{number}.json").write_text("{}")


HOSTILE: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("{ no JSON"), "web.json's report for 1.1.0 could not be read: is no JSON ("),
    (lambda path: path.write_text("{}"), "web.json's report for 1.1.0 could not be read: is none of trivy, grype"),
    (lambda path: path.write_bytes(b"\xff\x00"), "web.json's report for 1.1.0 could not be read: is no JSON ("),
    (lambda path: path.write_text("[" * 200_000), "is nested too deeply to be a report"),
    (lambda path: os.truncate(path, SIZE_LIMIT + 1), "could not be read: is larger than 64 MB, which no report is"),
    (lambda path: path.write_bytes(b"[" + b"[]," * 21_000_000 + b"1]"), "it takes more than 512 MB to read"),
    (linked, "web.json's report for 1.1.0 could not be read: it is a symbolic link"),
    (of_another_kind(os.mkfifo), "web.json's report for 1.1.0 could not be read: it is not a plain file"),
    (of_another_kind(Path.mkdir), "web.json's report for 1.1.0 could not be read: it is not a plain file"),
    (lambda path: path.chmod(0o666), "could not be read: others than root may write to it: chmod go-w"),
    (lambda path: path.chmod(0o664), "could not be read: others than root may write to it: chmod go-w"),
    (lambda path: path.parent.chmod(0o777), "reports/1.1.0: others than root may write to it: chmod go-w"),
    (lambda path: path.parent.parent.chmod(0o777), "reports: others than root may write to it: chmod go-w"),
    (linked_directory, "reports/1.1.0: it is a symbolic link"),
    (many, "reports/1.1.0: holds more than 50 files"),
    (lambda path: path.rename(path.with_name("a\nb\x1b[2J.json")), "there is no report of a?b?[2J.json for 1.0.0"),
]


@pytest.mark.parametrize("harm, said", HOSTILE, ids=[said[-40:] for _, said in HOSTILE])
def test_a_hostile_file_decides_nothing_and_is_told_in_one_line(
    reports: Reports, harm: Callable[[Path], object], said: str
) -> None:
    path = reports.write("1.1.0", CRITICAL)
    reports.write("1.0.0")
    harm(path)
    found = reports.look()
    assert [item.ok for item in found if item.subject == "new"] == [None]
    assert [item for item in found if item.ok is False] == []
    assert said in reports.said()
    assert reports.said().isprintable()
    assert len(reports.said()) <= 1000
    # it was not read a second time
    assert reports.runner.runs == 1


# only root may give a file to somebody else
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who alone may give files away")
def test_what_belongs_to_somebody_else_is_not_read(reports: Reports) -> None:
    path = reports.write("1.1.0", CRITICAL)
    reports.write("1.0.0")
    os.chown(path, 1000, 1000)
    assert "could not be read: it belongs to the user id 1000: chown it to root" in reports.said()
    os.chown(path, 0, 0)
    os.chown(path.parent, 1000, 1000)
    assert "reports/1.1.0: it belongs to the user id 1000: chown it to root" in reports.said()


def test_one_bad_file_does_not_hide_what_another_says(reports: Reports) -> None:
    reports.write("1.1.0", CRITICAL)
    reports.write("1.0.0")
    reports.put("1.1.0", "worker.json", b"{")
    assert reports.told() == {"CVE-2026-0001 openssl": (None, False), "new": (1, False), "way back": (None, None)}
    assert "worker.json's report for 1.1.0 could not be read" in reports.said()


def test_a_great_many_are_counted_and_few_are_remembered(reports: Reports) -> None:
    reports.write("1.1.0", *((f"CVE-2026-{number}", "openssl", "CRITICAL") for number in range(3000)))
    reports.write("1.0.0")
    assert reports.told()["new"] == (3000, False)
    assert len(json.dumps(reports.last)) < 10_000


@pytest.mark.parametrize(
    "ended, said",
    [
        (CommandError(["python3"], -9, "worker.json\nweb.json\n"), "web.json: takes more than 30 s or 512 MB to read"),
        (CommandError(["python3"], None, "web.json\nafter 120 s"), "web.json: takes more than 30 s or 512 MB to read"),
        (CommandError(["python3"], 1, "web.json\nImportError: no module"), "ImportError: no module"),
        (CommandError(["python3"], 1, ""), "nothing was said"),
    ],
)
def test_a_reader_that_is_killed_is_told_and_not_tried_each_minute(
    reports: Reports, monkeypatch: pytest.MonkeyPatch, ended: CommandError, said: str
) -> None:
    asked: list[int] = []

    def run(*_given: object, **_options: object) -> Completed:
        asked.append(1)
        raise ended

    monkeypatch.setattr(reports.runner, "run", run)
    reports.write("1.1.0")
    for _ in range(3):
        assert reports.said() == f"the reports in {reports.place} could not be read: {said}"
    assert asked == [1]


def test_the_reader_runs_out_of_the_one_file_that_the_watch_is(reports: Reports, tmp_path: Path) -> None:
    program = tmp_path / "slipway.pyz"
    program.write_bytes(packed())
    reports.write("1.1.0", CRITICAL)
    reports.write("1.0.0")
    asked = {
        "directory": str(reports.place),
        "known": [{"version": name, "commit": None, "images": [], "names": []} for name in ("1.1.0", "1.0.0")],
        "policy": {},
        "now": "2026-11-23T08:00:00Z",
    }
    begin = f"import sys; sys.path.insert(0, {str(program)!r})"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{begin}; {_host_reports._PROGRAM}", "slipway._host_reports"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [item["subject"] for item in json.loads(done.stdout)] == ["CVE-2026-0001 openssl", "new", "way back"]


DOCKER = """#!/bin/sh
echo "$@" | grep -q 'reference=slipway/swarm-\\*:1\\.[01]\\.0 ' || exit 1
echo slipway/swarm-web; echo slipway/swarm-worker
"""
TRIVY = """#!/bin/sh
while [ "$1" != --output ]; do shift; done
weight=$(case $3 in *-web:1.1.0) echo CRITICAL;; *) echo LOW;; esac)
sed "s#ABOUT#$3#; s#CRITICAL#$weight#" "$(dirname "$0")/report" >"$2"
"""


def test_the_script_of_the_page_lets_the_scanner_look_at_both_releases(reports: Reports, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    document = samples.trivy(CRITICAL, ArtifactName="ABOUT", Metadata={}, Trivy=made(NOW))
    (programs / "report").write_bytes(samples.written(document))
    for name, text in (("docker", DOCKER), ("trivy", TRIVY)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    subprocess.run(
        [ROOT / "monitoring/scanner/slipway-reports", reports.site.ledger.root.parent],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        check=True,
    )
    written = sorted(str(path.relative_to(reports.place)) for path in reports.place.rglob("*") if path.is_file())
    assert written == ["1.0.0/web.json", "1.0.0/worker.json", "1.1.0/web.json", "1.1.0/worker.json"]
    assert reports.told() == {"CVE-2026-0001 openssl": (None, False), "new": (1, False), "way back": (0, True)}
