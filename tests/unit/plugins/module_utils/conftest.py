from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._clock import Clock
from ansible_collections.slipway.release.plugins.module_utils._http import Client
from ansible_collections.slipway.release.plugins.module_utils._ledger import Release
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile, secrets
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import Application
from tests.unit.plugins.module_utils.host import Host

Build = Callable[..., Prober]


@pytest.fixture
def application() -> Iterator[Application]:
    started = Application()
    yield started
    started.stop()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def prober(application: Application, host: Host, tmp_path: Any) -> Iterator[Build]:  # noqa: ANN401 pytest's own type
    """Builds a prober for the fake application, whose profile the arguments change."""
    (tmp_path / "compose.yml").touch()
    clients: list[Client] = []

    def build(clock: Clock | None = None, **changes: Any) -> Prober:  # noqa: ANN401 plain data
        given = application.profile(**{"directory": str(tmp_path), **changes})
        profile = Profile.parse(given)
        clients.append(Client(profile.base_url, profile.host_header))
        return Prober(profile, clients[-1], host, clock or Clock(), secrets(given))

    yield build
    for client in clients:
        client.close()


@pytest.fixture
def released(prober: Build, tmp_path: Any) -> Build:  # noqa: ANN401 pytest's own type
    """Builds a prober of a release that stands, before which `noted` was noted."""

    def build(noted: dict[str, Any], **changes: Any) -> Prober:  # noqa: ANN401 plain data
        built = prober(state_directory=str(tmp_path / "state"), **changes)
        ledger = Site(built.profile).ledger
        with ledger.locked():
            ledger.save_release(Release("1.1.0", "1" * 40, {}, {}, []))
            ledger.save_baseline("1.1.0", noted)
            ledger.update(current="1.1.0")
        return built

    return build
