"""The call that looks: what it is told by the call before it, and what its result may not hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _call_probe, _probe
from ansible_collections.slipway.release.plugins.module_utils._host_module import perform
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation

from tests.unit.plugins.module_utils.application import Application
from tests.unit.plugins.module_utils.host import Host


@pytest.fixture
def given(application: Application, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The profile of an application on a host whose commands a test answers."""
    (tmp_path / "compose.yml").touch()
    monkeypatch.setattr(_probe, "HostRunner", lambda: host)
    profile: dict[str, Any] = application.profile(directory=str(tmp_path), state_directory=str(tmp_path / "state"))
    return profile


def call(application: dict[str, Any], *probes: str, **more: object) -> dict[str, Any]:
    unset = dict.fromkeys(("since", "logs_since", "run", "security"))
    parameters = {"application": application, "probes": list(probes), "looks": 1, "interval": 0, **unset, **more}
    return perform(_call_probe.answer, parameters, [], check_mode=False, sent=time.time())


def test_a_short_field_of_the_login_spoils_no_time_and_no_name(given: dict[str, Any]) -> None:
    form = {**given["login"]["form"], "locale": "en", "tenant": 20}
    told = call({**given, "login": {**given["login"], "form": form}}, "pages")
    assert [Observation.from_dict(item).probe for item in told["observations"]] == ["page"] * len(told["observations"])
    assert told["observations"]


def test_a_look_that_goes_on_with_another_reads_the_logs_from_where_that_ended(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[float] = []

    def logs(_site: object, since: float, *_: object) -> tuple[list[Observation], float]:
        read.append(since)
        return [], since + 10

    monkeypatch.setattr(_probe, "probe_logs", logs)
    first = call(given, "logs", since="2026-11-23T08:00:00Z")
    second = call(given, "logs", since="2026-11-23T08:00:00Z", logs_since=first["logs_until"])
    assert read[1] - read[0] == 10
    assert second["logs_until"] - first["logs_until"] == 10
    assert call(given, "pages")["logs_until"] is None
