from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._bounded import bounded


def test_values_are_bounded() -> None:
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep]
    value = bounded(
        {"text": "x" * 5000, "list": list(range(5000)), "nan": float("nan"), "path": Path("/a"), "deep": deep}
    )
    assert len(value["text"]) == 2000
    assert len(value["list"]) == 1000
    assert (value["nan"], value["path"]) == (None, "/a")


def test_texts_can_be_cut_shorter_at_any_depth() -> None:
    assert bounded({"a": [{"b": "x" * 50}]}, 20) == {"a": [{"b": "x" * 16 + " ..."}]}
