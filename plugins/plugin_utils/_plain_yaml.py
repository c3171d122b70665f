# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads YAML that others wrote: a few lines of aliases stand for more than the memory holds, so there may be none."""

from __future__ import annotations

import yaml
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError


def load_yaml(content: str | bytes, loader: type[yaml.BaseLoader | yaml.SafeLoader]) -> object:
    """What a text holds; SlipwayError where it has an alias, yaml.YAMLError where it is none.

    :param loader: one that makes plain data only.
    """
    for event in yaml.parse(content, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            line = f"line {event.start_mark.line + 1}: " if event.start_mark is not None else ""
            raise SlipwayError(f"{line}has an alias (*NAME): write there what it stands for")
    return yaml.load(content, Loader=loader)  # noqa: S506 - the loader makes plain data only
