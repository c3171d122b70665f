from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._certificate import CODE, DOWN, RESTORE, Certificate
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError

pytestmark = pytest.mark.promise("G5")


def certificate(**changes: object) -> Certificate:
    given = {
        "version": "1.1.0",
        "commit": "a" * 40,
        "backup": "b1",
        "at": "2026-11-23T08:00:00Z",
        "migrations": ["1", "2"],
        "seconds": {"migrate": 1.5, "down": 2.34, "restore": 0.9},
        **changes,
    }
    return Certificate.from_dict(given)


@pytest.mark.parametrize(
    "changes, road",
    [
        ({"migrations": []}, CODE),
        ({}, DOWN),
        ({"old_code_wrong": []}, DOWN),
        ({"down_wrong": ["it raises"], "old_code_wrong": []}, CODE),
        ({"down_wrong": ["it raises"], "old_code_wrong": ["login: 500"]}, RESTORE),
        ({"down_wrong": ["it raises"]}, RESTORE),
        # the code would run, but a value is gone that only the backup has
        ({"down_wrong": ["it raises"], "old_code_wrong": [], "destroyed": ["column x is gone"]}, RESTORE),
    ],
)
def test_the_road_back_puts_everything_as_it_was_and_loses_least(changes: dict[str, object], road: str) -> None:
    assert certificate(**changes).road == road


def test_the_plan_names_target_migrations_backup_and_measured_times() -> None:
    lines = certificate(drops={"public.campaigns.priority": 200}, side_by_side_wrong=[]).plan("1.0.0")
    assert lines[0] == "target: 1.0.0, as it was when backup b1 was taken"
    assert lines[1] == "window: in the rehearsal the migrations took 1.5 s"
    assert "(2, 1), by 1.1.0's image: 2.3 s in the rehearsal" in lines[2]
    assert "200 values of public.campaigns.priority" in lines[3]
    assert "may run side by side" in lines[4]


def test_the_plan_of_a_restore_says_why() -> None:
    lines = certificate(down_wrong=["it raises"], old_code_wrong=["login: 500"]).plan("1.0.0")
    assert "is no way back: it raises" in lines[2]
    assert "does not run on the new schema: login: 500" in lines[3]
    assert "backup b1 is restored beside the database and takes its place, 0.9 s" in lines[4]


def test_a_bad_rehearsal_is_not_good() -> None:
    assert certificate().good
    assert not certificate(failed="no").good
    assert not certificate(losses=["1 row is gone"]).good


def test_something_else_is_no_certificate() -> None:
    with pytest.raises(SlipwayError, match="no certificate"):
        Certificate.from_dict({"version": "1.1.0"})
    assert Certificate.from_dict({**certificate().to_dict(), "of a later version": 1}) == certificate()
