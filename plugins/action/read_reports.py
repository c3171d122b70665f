# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads vulnerability reports on the controller, and lets a scanner there look at images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._scan_reports import Report, ReportError, read_report
from ansible_collections.slipway.release.plugins.module_utils._scanner import scan_all
from ansible_collections.slipway.release.plugins.module_utils._vulnerabilities import (
    CONTROLLER,
    Given,
    Policy,
    ScanEvidence,
    dated,
    parse,
)
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction

VERSION = "${version}"


class ActionModule(ControllerAction):
    """Connects to nothing: the same in check mode."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the evidence in plain form; fail with one line where something cannot be read."""
        versions, strict = given.pop("versions"), given.pop("strict")
        policy, files = parse(given)
        reports = [_read(item, strict=strict) for item in files]
        return {"security": ScanEvidence(policy, (*reports, *_scanned(policy, versions))).to_dict()}


def _read(item: Given, *, strict: bool) -> Report:
    """A report; one that cannot be read says nothing, unless that is to be an error."""
    try:
        return dated(read_report(Path(item.path), item.subject, item.form), item)
    except ReportError as error:
        if strict:
            raise
        return Report.missing(item.subject, error)


def _scanned(policy: Policy, versions: list[str]) -> list[Report]:
    """What a scanner on the controller says of the images of releases."""
    scanner = policy.scanner
    if scanner is None or scanner.where != CONTROLLER:
        return []
    images = {version: (scanner.image or "").replace(VERSION, version) for version in versions}
    return [report for version, image in images.items() for report in scan_all(scanner, version, [image])]
