"""Figures that a release must not bring down."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _probe_figures
from ansible_collections.slipway.release.plugins.module_utils._criteria import State, judge, parse
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from ansible_collections.slipway.release.plugins.module_utils._probe import Prober, Request
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import Application
from tests.unit.plugins.module_utils.host import Host

pytestmark = pytest.mark.promise("R2")

Build = Callable[..., Prober]
ONLINE = {"name": "agents online", "sql": "SELECT count(*) FROM agents WHERE status = 'online'; ", "at_least": 0.5}
REFUSED = 'ERROR:  relation "agents" does not exist\nLINE 1: SELECT'


def look(released: Build, before: float | None = 450) -> Observation:
    built = released({} if before is None else {"figures": {"agents online": before}}, figures=[ONLINE])
    (seen,) = built.run(Request(("figures",))).observations
    assert (seen.probe, seen.subject) == ("figure", "agents online")
    return seen


@pytest.mark.parametrize(
    "now, before, ok, detail",
    [
        ("450", 450, True, "450, 450 before the release"),
        ("225", 450, True, "225, 450 before the release"),
        ("224", 450, False, "224, 450 before the release: less than 50% of it are left"),
        ("0", 0, True, "0, 0 before the release"),
        ("-450", -450, True, "-450, -450 before the release"),
        ("-676", -450, False, "-676, -450 before the release: less than 50% of it are left"),
        ("12", None, None, "12, nobody noted it before the release"),
        ("", 450, None, "could not be seen: figure 'agents online' is not one number"),
        ("NaN", 450, None, "could not be seen: figure 'agents online' is not one number"),
        ("3\x1f4", 450, None, "could not be seen: figure 'agents online' is not one number"),
        ("3\n4", 450, None, "could not be seen: figure 'agents online' is not one number"),
    ],
)
def test_what_is_left_is_compared_with_before(
    host: Host, released: Build, now: str, before: float | None, ok: bool | None, detail: str
) -> None:
    asked: list[str] = []
    host.tells = lambda sql: asked.append(sql) or f"{now}\n"  # type: ignore[func-returns-value]
    seen = look(released, before)
    assert (seen.ok, seen.detail) == (ok, detail)
    (sql,) = asked
    assert "SET default_transaction_read_only = on; SET statement_timeout = '60s';" in sql
    assert sql.endswith("FROM (SELECT count(*) FROM agents WHERE status = 'online') AS figure LIMIT 2")


def test_one_that_cannot_be_asked_is_no_evidence(host: Host, released: Build) -> None:
    def refuse(_sql: str) -> str:
        raise CommandError(["psql"], 3, REFUSED)

    host.tells = refuse
    seen = look(released)
    assert (seen.ok, seen.value) == (None, None)
    assert seen.detail.endswith("""cannot be asked (ERROR:  relation "agents" does not exist)""")


def test_agents_that_went_offline_are_a_reason_to_go_back(host: Host, released: Build) -> None:
    host.tells = lambda _sql: "3\n"
    criteria = parse([{"id": "R2", "title": "Broken", "probes": ["page", "figure"]}])
    _, verdict = judge(criteria, State(), [look(released)])
    assert verdict.message == "R2 Broken: agents online: 3, 450 before the release: less than 50% of it are left"


def test_they_are_noted_before_a_release_and_one_that_cannot_be_is_named(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(Profile.parse(application.profile(figures=[ONLINE])))
    tables = 9

    def query(_sql: str) -> list[list[str]]:
        return [["450"]]

    def refuse(_sql: str) -> list[list[str]]:
        raise CommandError(["psql"], 3, REFUSED)

    def database(answer: Any) -> SimpleNamespace:  # noqa: ANN401 a function
        return SimpleNamespace(tables=lambda: tables, query=answer)

    monkeypatch.setattr(Site, "database", database(query))
    assert _probe_figures.baseline(site) == {"agents online": 450.0}
    monkeypatch.setattr(Site, "database", database(refuse))
    with pytest.raises(SlipwayError, match=r"^figure 'agents online' cannot .*not exist\): mend application.figures$"):
        _probe_figures.baseline(site)
    # before a first install there is no table
    tables = 0
    assert _probe_figures.baseline(site) == {}
