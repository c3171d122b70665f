"""What counts as left behind by a bad release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.measure_bad_releases import Seen, left

BEFORE = Seen("1.1.0", "a schema", {"campaigns.name": "a", "campaigns.id": "b"}, {"logo.png": "c"})


def test_a_host_that_is_as_before_has_nothing_left() -> None:
    assert left(BEFORE, replace(BEFORE), let_in=False) == set()


@pytest.mark.parametrize(
    "after, what",
    [
        (replace(BEFORE, release="1.2.0"), "still running"),
        (replace(BEFORE, release=None), "still running"),
        (replace(BEFORE, schema="another"), "schema"),
        (replace(BEFORE, values={**BEFORE.values, "campaigns.name": "cut"}), "data"),
        (replace(BEFORE, values={"campaigns.id": "b"}), "data"),
        (replace(BEFORE, files={}), "data"),
    ],
)
def test_what_is_other_than_before_is_named(after: Seen, what: str) -> None:
    assert left(BEFORE, after, let_in=False) == {what}


def test_a_column_that_was_added_is_no_other_data() -> None:
    values = {**BEFORE.values, "campaigns.budget": "d"}
    assert left(BEFORE, replace(BEFORE, schema="another", values=values), let_in=True) == {"let in", "schema"}
