"""A scanner is a program that somebody named: it may print anything, for ever."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _scanner
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._quiet import OFFLINE
from ansible_collections.slipway.release.plugins.module_utils._scanner import scan, scan_all
from ansible_collections.slipway.release.plugins.module_utils._vulnerabilities import Scanner

from tests.unit.plugins.module_utils import scan_samples as samples


def program(tmp_path: Path, source: str) -> list[str]:
    path = tmp_path / "scanner.py"
    path.write_text(f"import sys, time, os\n{source}\n")
    return [sys.executable, str(path), "--format", "json", "${image}", "x=${image}"]


def test_the_image_takes_its_place_and_no_shell_reads_it(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(samples.trivy(("CVE-1", "a", "HIGH"))))
    command = program(
        tmp_path,
        f"assert sys.argv[3:] == ['a:1; rm $HOME', 'x=a:1; rm $HOME'], sys.argv\n"
        f"print(open({str(tmp_path / 'report.json')!r}).read())",
    )
    report = scan(command, "a:1; rm $HOME", "1.1.0", "trivy", 10)
    assert [item.id for item in report.findings] == ["CVE-1"]


def test_a_scanner_that_ends_with_a_failure_because_it_found_something_is_heard(tmp_path: Path) -> None:
    content = samples.written(samples.trivy(("CVE-1", "a", "HIGH")))
    command = program(tmp_path, f"sys.stdout.buffer.write({content!r}); sys.exit(2)")
    assert len(scan(command, "a", "1.1.0", None, 10).findings) == 1


@pytest.mark.parametrize(
    "source, said",
    [
        ("print('oops', file=sys.stderr); sys.exit(1)", "ended with code 1: oops"),
        ("sys.exit(1)", "ended with code 1: "),
        ("print('no report')", "is no JSON"),
        ("print('{}')", "is none of trivy"),
    ],
)
def test_what_is_no_report_is_one_line(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        scan(program(tmp_path, source), "a", "1.1.0", None, 10)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_images_share_the_time_and_one_that_fails_has_said_nothing(tmp_path: Path) -> None:
    content = samples.written(samples.trivy(("CVE-1", "a", "HIGH")))
    source = f"sys.stdout.buffer.write({content!r}) if sys.argv[3] == 'good' else time.sleep(60)"
    begun = time.monotonic()
    reports = scan_all(Scanner(tuple(program(tmp_path, source)), timeout=2), "1.1.0", ["good", "slow", "late"])
    assert time.monotonic() - begun < 10
    assert [len(item.findings) for item in reports] == [1, 0, 0]
    assert [item.problem is None for item in reports] == [True, False, False]
    assert "ran out of time" in str(reports[1].problem)


def test_a_scanner_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SlipwayError, match="the scanner /none/trivy cannot be started: No such file"):
        scan(["/none/trivy", "${image}"], "a", "1.1.0", None, 10)


def test_a_scanner_that_prints_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scanner, "SIZE_LIMIT", 1_000_000)
    with pytest.raises(SlipwayError, match="printed more than 1 MB"):
        scan(program(tmp_path, "while True: print('x' * 10000)"), "a", "1.1.0", None, 20)


def test_a_scanner_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    command = program(
        tmp_path,
        f"child = os.fork()\nif child: open({str(note)!r}, 'w').write(str(child))\ntime.sleep(60)",
    )
    begun = time.monotonic()
    with pytest.raises(SlipwayError, match="ran out of time"):
        scan(command, "a", "1.1.0", None, 1.5)
    assert time.monotonic() - begun < 10
    child = int(note.read_text())
    for _ in range(100):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        pytest.fail("what the scanner started lives on")


@pytest.mark.parametrize("offline", [True, False])
def test_a_scanner_updates_its_database_unless_it_must_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, offline: bool
) -> None:
    for name in OFFLINE:
        monkeypatch.delenv(name, raising=False)
    content = samples.written(samples.trivy(("CVE-1", "a", "HIGH")))
    command = program(
        tmp_path,
        f"assert [name in os.environ for name in {list(OFFLINE)}] == [{offline}] * {len(OFFLINE)}, os.environ\n"
        f"assert os.environ['GRYPE_CHECK_FOR_APP_UPDATE'] == 'false'\n"
        f"sys.stdout.buffer.write({content!r})",
    )
    (report,) = scan_all(Scanner(command=tuple(command)), "1.1.0", ["a"], offline=offline)
    assert [item.id for item in report.findings] == ["CVE-1"]
