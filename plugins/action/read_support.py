# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a site's support archive, on the controller."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError
from ansible_collections.slipway.release.plugins.module_utils._support_archive import Support, read_archive
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction

_REPORT = re.compile(r"report/(.+)\.json")
_PARTS = ("history", "scorecard", "assessed")


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the reports in the archive and what it says of the host; fail with one line where it is refused."""
        path = Path(given["path"])
        support = read_archive(path)
        reports = {found[1]: name for name in support.files if (found := _REPORT.fullmatch(name))}
        wanted = [given["version"]] if given["version"] else list(reports)
        if not wanted or wanted[0] not in reports:
            there = ", ".join(reports) or "none"
            raise BundleError(path.name, f"it has no report of {given['version'] or 'any release'}; reports: {there}")
        told = [_object(support, reports[version], path.name) for version in wanted]
        parts = {name: _read(support, f"{name}.json", path.name) for name in ("containers", "versions", "disk", "logs")}
        return {
            "site": support.site,
            "reports": [{name: item.get(name) for name in _PARTS} for item in told],
            "host": {"at": support.at, **parts, "left_out": dict(support.left_out)},
        }


def _object(support: Support, name: str, file: str) -> dict[str, Any]:
    value = _read(support, name, file)
    if not isinstance(value, dict) or not all(isinstance(value.get(part), dict) for part in _PARTS[:2]):
        raise BundleError(file, f"{name} is no report")
    return value


def _read(support: Support, name: str, file: str) -> object:
    """A file of the archive; None where it was left out."""
    if name not in support.files:
        return None
    try:
        return json.loads(support.files[name])
    except (ValueError, RecursionError) as error:
        raise BundleError(file, f"{name} is not JSON") from error
