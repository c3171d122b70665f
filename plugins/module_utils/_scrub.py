# SPDX-License-Identifier: GPL-3.0-or-later
"""Hides secrets in what is about to leave the host."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

HIDDEN = "********"


def scrubbed(value: Any, secrets: Collection[str]) -> Any:  # noqa: ANN401 - anything that JSON holds
    """Return `value` without any of the secrets in its texts, at whatever depth."""
    if not secrets:
        return value
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True)))

    def clean(item: Any) -> Any:  # noqa: ANN401 - the same
        if isinstance(item, str):
            return pattern.sub(HIDDEN, item)
        if isinstance(item, dict):
            return {clean(key): clean(held) for key, held in item.items()}
        if isinstance(item, (list, tuple)):
            return [clean(held) for held in item]
        return item

    return clean(value)
