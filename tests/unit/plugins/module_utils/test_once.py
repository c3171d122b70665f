"""What several ask for at the same time is found out once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._once import Once


def test_all_get_the_same_value_of_one_call() -> None:
    calls: list[int] = []

    def slow() -> int:
        time.sleep(0.05)
        calls.append(1)
        return len(calls)

    once = Once(slow)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: once(), range(8))) == {1}


def test_an_error_is_not_tried_again() -> None:
    calls: list[int] = []

    def failing() -> None:
        calls.append(1)
        raise SlipwayError("no")

    once = Once(failing)
    for _ in range(3):
        with pytest.raises(SlipwayError, match="no"):
            once()
    assert calls == [1]
