"""Lets a test's promises reach the JUnit file that the coverage table is written from."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes is the machine's affair; which examples are tried is the same everywhere.
settings.register_profile("slipway", deadline=None, derandomize=True)
settings.load_profile("slipway")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Copy the marker `promise` into the properties of each test."""
    for item in items:
        for mark in item.iter_markers("promise"):
            item.user_properties.extend(("promise", identity) for identity in mark.args)
