# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain data of a bounded size: what others wrote is not trusted to be short."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONGEST_TEXT = 2000
_LONGEST_LIST = 1000
_DEEPEST = 8


def bounded(value: object, longest: int = LONGEST_TEXT, depth: int = 0) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The value as plain JSON data of a bounded size.

    :param longest: characters of a text.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth < _DEEPEST and isinstance(value, Mapping):
        found = list(value)[:_LONGEST_LIST]
        return {bounded(str(key), longest): bounded(value[key], longest, depth + 1) for key in found}
    if depth < _DEEPEST and isinstance(value, (list, tuple)):
        return [bounded(item, longest, depth + 1) for item in value[:_LONGEST_LIST]]
    text = str(value)
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."
