from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._fleet import (
    SKIP,
    STOP,
    Site,
    gate,
    parse_sizes,
    site_of,
    waves,
)

FOUR = ["site1", "site2", "site3", "site4"]
WELL, BAD = Site("site1", None), Site("site2", "1.2.0 was taken back")
LOST = Site("site3", "cannot be reached", unreached=True)


@pytest.mark.parametrize(
    "value,sizes",
    [
        ("100%", ["100%"]),
        ([1, "25%", "100%"], [1, "25%", "100%"]),
        ("1, 25% ,100%", [1, "25%", "100%"]),
        (2, [2]),
        (["3"], [3]),
    ],
)
def test_sizes_are_numbers_and_shares(value: object, sizes: list[Any]) -> None:
    assert parse_sizes(value) == sizes


@pytest.mark.parametrize("value", ["", [], 0, "0%", "101%", -1, 1.5, True, None, {"a": 1}, "canary", [1, [2]], "1;2"])
def test_what_is_no_size_is_one_line(value: object) -> None:
    with pytest.raises(SlipwayError, match=r"^fleet_waves: .*such as 1,25%,100%$"):
        parse_sizes(value)


@pytest.mark.parametrize(
    "sizes,expected",
    [
        (["100%"], [FOUR]),
        ([1], [["site1"], ["site2"], ["site3"], ["site4"]]),
        ([1, "25%", "100%"], [["site1"], ["site2"], ["site3", "site4"]]),
        ([1, 2], [["site1"], ["site2", "site3"], ["site4"]]),
        ([9], [FOUR]),
    ],
)
def test_sites_are_divided_as_ansible_divides_them(sizes: list[Any], expected: list[list[str]]) -> None:
    assert waves(FOUR, sizes) == expected


def test_the_first_wave_may_begin_and_so_may_one_whose_earlier_sites_stand() -> None:
    assert gate([], ["site2"], STOP).refusal is None
    found = gate([WELL], ["site3"], STOP)
    assert (found.refusal, found.left_out, found.later) == (None, [], ["site3"])


@pytest.mark.parametrize("policy", [STOP, SKIP])
def test_a_site_that_was_taken_back_stops_whatever_the_policy(policy: str) -> None:
    expected = "nothing was changed here, for an earlier wave does not hold: site2: 1.2.0 was taken back"
    assert gate([WELL, BAD], [], policy).refusal == expected


def test_a_site_that_cannot_be_reached_stops_or_is_left_out() -> None:
    assert "site3: cannot be reached" in str(gate([WELL, LOST], [], STOP).refusal)
    found = gate([WELL, LOST], [], SKIP)
    assert (found.refusal, found.left_out) == (None, ["site3"])
    assert "site2: 1.2.0" in str(gate([BAD, LOST], [], SKIP).refusal)


def test_no_site_that_was_reached_is_no_evidence() -> None:
    assert str(gate([LOST], [], SKIP).refusal).endswith("none of its sites was reached: site3")


RUN = {"release": "1.2.0", "previous": "1.1.0"}
JUDGED = {
    "overall": "rollback",
    "criteria": [
        {"id": "R1", "title": "Database migrations fail", "mode": "enforce", "verdict": "rollback"},
        {"id": "R2", "title": "Critical functionality broken", "mode": "enforce", "verdict": "hold"},
        {"id": "P1", "title": "New errors in the logs", "mode": "warn", "verdict": "rollback"},
    ],
}
OPENED = {"preflight_result": {"run": RUN}}
FAILED = {
    **OPENED,
    "deploy_failure": "raised",
    "deploy_verdict": JUDGED,
    "rollback_result": {"taken_back": "1.2.0", "standing": "1.1.0"},
}


@pytest.mark.parametrize(
    "told,problem",
    [
        (FAILED, "1.2.0 was taken back, 1.1.0 runs: R1 Database migrations fail: raised"),
        (
            {**FAILED, "deploy_failure": "R1 Database migrations fail: migrate: raised"},
            "1.2.0 was taken back, 1.1.0 runs: R1 Database migrations fail: migrate: raised",
        ),
        (
            {**FAILED, "deploy_verdict": {}, "rollback_result": {"taken_back": None, "standing": "1.1.0"}},
            "1.2.0 did not come in, 1.1.0 runs as before: raised",
        ),
        (
            {**FAILED, "deploy_verdict": {}, "rollback_result": {"taken_back": "1.2.0", "standing": None}},
            "1.2.0 was taken back, nothing runs: raised",
        ),
        (
            {**FAILED, "deploy_verdict": {}, "rollback_result": {"msg": "no"}},
            "1.2.0 could not be taken back: raised",
        ),
        ({"preflight_result": {"msg": "disk:\n full", "failures": ["disk: full"]}}, "disk: full"),
        (
            {**OPENED, "verdict_result": {"msg": "R3 slow: /: 9 s", "verdict": {"overall": "rollback"}}},
            "R3 slow: /: 9 s",
        ),
        (OPENED, "its deploy did not come to its end: playbooks/status.yml says where it stands"),
        ({}, "its deploy did not come to its end: playbooks/status.yml says where it stands"),
    ],
)
def test_a_site_on_which_the_release_does_not_stand_says_why_in_one_line(told: dict[str, Any], problem: str) -> None:
    assert site_of("site1", told, None) == Site("site1", problem)


def test_only_a_site_on_which_nothing_was_begun_counts_as_not_reached() -> None:
    lost = {"preflight_result": {"msg": "site1 cannot be reached (no route): look", "lost_host": True}}
    assert site_of("site1", lost, None) == Site("site1", "cannot be reached (no route): look", unreached=True)
    assert not site_of("site1", {**OPENED, "deploy_failure": "lost", "deploy_verdict": {}}, None).unreached


STANDS = {**OPENED, "fleet_release": "1.2.0"}


@pytest.mark.parametrize(
    "ledger,expected",
    [
        (None, Site("site1", None)),
        ({"status": {"current": "1.2.0"}}, Site("site1", None)),
        (
            {"status": {"current": "1.1.0"}},
            Site(
                "site1",
                "1.2.0 stood there and was taken back since, 1.1.0 runs: playbooks/status.yml says more",
            ),
        ),
        ({"msg": "ledger.json is damaged"}, Site("site1", "ledger.json is damaged")),
        ({}, Site("site1", "no reason was given")),
        (
            {"lost_host": True, "msg": "site2 cannot be reached"},
            Site("site1", "1.2.0 stood there, and it cannot be reached any more", unreached=True),
        ),
    ],
)
def test_a_site_stands_only_while_its_ledger_says_so(ledger: dict[str, Any] | None, expected: Site) -> None:
    assert site_of("site1", STANDS, ledger) == expected
