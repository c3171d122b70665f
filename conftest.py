"""Lets a test's promises reach the JUnit file that the coverage table is written from."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Copy the marker `promise` into the properties of each test."""
    for item in items:
        for mark in item.iter_markers("promise"):
            item.user_properties.extend(("promise", identity) for identity in mark.args)
