"""Lets a test's promises, and what it typed, reach the JUnit file that the coverage table is written from."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests import typed

# How long an example takes is the machine's affair; which examples are tried is the same everywhere.
settings.register_profile("slipway", deadline=None, derandomize=True)
settings.load_profile("slipway")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Copy the marker `promise` into the properties of each test."""
    for item in items:
        for mark in item.iter_markers("promise"):
            item.user_properties.extend(("promise", identity) for identity in mark.args)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is typed from now on is typed by this test."""
    typed.note_for(item.user_properties)
