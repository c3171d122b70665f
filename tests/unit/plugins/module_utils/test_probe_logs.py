from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_logs
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request
from ansible_collections.slipway.release.plugins.module_utils._probe_logs import Limits, baseline, probe_logs, read_logs
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import PROFILE
from tests.unit.plugins.module_utils.host import Host
from tests.unit.plugins.module_utils.log_samples import lograge

PRINT = "import sys; sys.stdout.write(sys.argv[1]); sys.exit(int(sys.argv[2]))"
OLD = "ERROR: Redis went away"
Build = Callable[..., Prober]


class Logging(Host):
    """A host whose containers print something."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: dict[str, list[str]] = {}
        self.refuses: str | None = None

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        assert errors == subprocess.STDOUT
        self.commands.append(list(argv))
        lines = [f"2026-11-23T08:{at:02}:00.1Z {line}" for at, line in enumerate(self.printed.get(argv[-1], []))]
        text = self.refuses or "\n".join(lines)
        given = [sys.executable, "-c", PRINT, text, str(int(self.refuses is not None))]
        return subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.fixture
def host() -> Logging:
    return Logging()


@pytest.fixture
def site(host: Logging, tmp_path: Path) -> Site:
    given = {**PROFILE, "base_url": "http://127.0.0.1", "directory": str(tmp_path), "state_directory": str(tmp_path)}
    return Site(Profile.parse(given), runner=host)


def look(site: Site, before: dict[str, object]) -> dict[str, Observation]:
    return {item.subject: item for item in probe_logs(site, 0.0, before, Clock())[0] if item.probe == "log"}


@pytest.mark.promise("P1")
def test_new_errors_are_told_from_those_before_the_release(site: Site, host: Logging) -> None:
    host.printed = {"web1": [OLD, *[lograge(200, duration=10)] * 11], "worker1": ["INFO: done"]}
    before = baseline(site)
    assert before["log"]["web"] == {"events": 1, "trials": 12, "blocks": [[1, 10], [0, 2]]}
    assert before["log"]["web requests"] == {"events": 0, "trials": 11, "blocks": [[0, 9], [0, 2]]}
    assert (before["latency"]["web"]["events"], before["latency"]["web"]["trials"]) == (0, 11)
    host.printed["web2"] = [OLD, *["ERROR: it broke 1"] * 3, lograge(500, duration=900), "ERROR: once"]
    seen = look(site, before)
    assert (seen["web"].value, seen["web"].of, seen["web"].ok) == (6, 18, True)
    assert (seen["web requests"].value, seen["web requests"].of) == (1, 12)
    assert (seen["web: error it broke #"].value, seen["web: error it broke #"].ok) == (3, False)
    assert seen["web: error once"].ok is True
    # what was there before is counted, and never new
    (again,) = [item for subject, item in seen.items() if "Redis" in subject]
    assert (again.subject.partition(":")[2], again.value, again.of, again.ok) == (" error Redis went away", 2, 18, True)
    slow = next(item for item in probe_logs(site, 0.0, before, Clock())[0] if item.probe == "latency")
    assert (slow.subject, slow.value, slow.of) == ("web", 1, 12)


@pytest.mark.promise("P1")
def test_an_error_that_was_there_before_is_counted_also_where_it_does_not_come(site: Site, host: Logging) -> None:
    many = [f"ERROR: it broke {letter}" for number, letter in enumerate("abcdefgh", 1) for _ in range(number)]
    host.printed = {"web1": many, "worker1": ["INFO: done"]}
    before = baseline(site)
    known = {name: item["events"] for name, item in before["log"].items() if " again " in name}
    assert sorted(known.values()) == [4, 5, 6, 7, 8]
    host.printed = {"web1": ["ERROR: it broke h", "INFO: well"]}
    seen = look(site, before)
    counted = {seen[name].detail: seen[name].value for name in known}
    assert sorted(item.value or 0 for name, item in seen.items() if name in known) == [0, 0, 0, 0, 1]
    assert counted == {"1 times in 2 lines": 1, "0 times in 2 lines": 0}
    assert not [name for name in seen if name.startswith("worker again")]


def test_without_a_baseline_nothing_is_called_new(site: Site, host: Logging) -> None:
    host.printed = {"web1": [OLD] * 5}
    assert {name: (item.ok, item.value) for name, item in look(site, {}).items()} == {
        "proxy": (True, 0),
        "web": (True, 5),
        "web: error Redis went away": (True, 5),
        "worker": (True, 0),
    }


def test_logs_that_cannot_be_read_are_no_evidence_and_no_reason_to_stop(site: Site, host: Logging) -> None:
    host.refuses = "Error response from daemon: configured logging driver does not support reading"
    assert baseline(site)["log"] == {}
    seen = look(site, {})
    assert {item.ok for item in seen.values()} == {None}
    assert "does not support reading" in seen["web"].detail
    host.refuses = "password hunter2hunter2"
    assert "hunter2" not in look(site, {})["web"].detail


def test_the_containers_own_secrets_are_not_shown(site: Site, host: Logging) -> None:
    host.containers[1]["Config"]["Env"] = [
        "SMTP_PASSWORD=pferd-batterie",
        "DATABASE_URL=postgres://a:klammer%2Bheft%21@b/c",
        "REDIS_URL=redis://b/0?timeout=seconds&password=wolke%2Btinte",
    ]
    # as it is given, and as the application knows it
    said = ["pferd-batterie", "klammer+heft!", "klammer%2Bheft%21", "wolke+tinte", "wolke%2Btinte"]
    host.printed = {"web1": [f"ERROR: {item} after 3 seconds" for item in said]}
    told = repr(look(site, {}))
    assert not [word for word in ("pferd", "klammer", "wolke", "tinte") if word in told]
    assert "seconds" in told


def test_a_container_for_which_no_time_was_left_is_not_one_that_printed_nothing(
    site: Site, host: Logging, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = host.stream
    slow = [sys.executable, "-c", "import time; print('2026-11-23T08:00:00.1Z INFO: x', flush=True); time.sleep(60)"]

    def stream(argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        if argv[-1] != "web1":
            return given(argv, errors)
        return subprocess.Popen(slow, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    host.printed = {"worker1": [OLD] * 5}
    monkeypatch.setattr(_probe_logs, "_BASELINE", Limits(seconds=0.5))
    monkeypatch.setattr(host, "stream", stream)
    before = baseline(site)
    assert "worker" not in before["signatures"]
    monkeypatch.setattr(host, "stream", given)
    seen = look(site, before)
    assert (seen["worker: error Redis went away"].ok, "nothing to compare with" in repr(seen)) == (True, True)


def test_only_so_much_is_read(site: Site, host: Logging) -> None:
    host.printed = {"web1": ["x" * 1000] * 50}
    logs, _ = read_logs(site, 0.0, 1.0, Limits(bytes=1000))
    assert sum(lines for _, blocks in logs["web"].counts() for _, lines in blocks) < 50
    assert {tuple(argv[3:5]) for argv in host.commands if argv[1] == "logs"} == {("--tail", "150000")}


def test_each_look_goes_on_where_the_one_before_ended(host: Logging, prober: Build, tmp_path: Path) -> None:
    looking = prober(state_directory=str(tmp_path))
    looking.counted["logs"] = 1000.0
    looking.run(Request(("logs",), looks=2))
    asked = [
        (argv[argv.index("--since") + 1], argv[argv.index("--until") + 1])
        for argv in host.commands
        if "--since" in argv
    ]
    first, second = dict.fromkeys(asked)
    assert first[0] == "1000.000"
    assert second[0] == first[1]
    assert _probe_logs.LATELY > 0
