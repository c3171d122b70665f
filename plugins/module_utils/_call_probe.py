# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module probe does on the host."""

from __future__ import annotations

from typing import Any

from ._criteria import counted_before
from ._errors import SlipwayError
from ._host_module import Module, long_enough
from ._observation import parse_timestamp
from ._probe import Request, prober
from ._profile import secrets
from ._site import Site
from ._vulnerabilities import ScanEvidence


def request_of(module: Module) -> Request:
    """Read the arguments; SlipwayError when one makes no sense."""
    given = module.params
    try:
        since = parse_timestamp(given["since"]) if given["since"] else None
    except ValueError as error:
        raise SlipwayError(f"since: must be an ISO 8601 time with a zone, not {given['since']!r}") from error
    if given["looks"] < 1 or given["interval"] < 0:
        raise SlipwayError("looks must be at least 1, and interval not negative")
    security = ScanEvidence.from_dict(given["security"]) if given["security"] else None
    return Request(tuple(given["probes"]), since, given["looks"], given["interval"], module.check_mode, security)


def answer(module: Module, site: Site) -> dict[str, Any]:
    """Return the module's result."""
    hidden = secrets(module.params["application"])
    module.secrets |= long_enough(hidden)
    token = int((module.params["run"] or {}).get("token", 0))

    def alive() -> None:
        if token:
            # LockedError when the run has lost the site
            with site.ledger.locked():
                site.ledger.check_run(token)

    counted = {"logs": module.params["logs_since"]} if module.params["logs_since"] else None
    looking = prober(site.profile, hidden, alive=alive, counted=counted)
    findings = looking.run(request_of(module))
    return {
        "changed": findings.changed,
        "observations": [item.to_dict() for item in findings.observations],
        "baseline": counted_before(looking.before()),
        "logs_until": looking.counted.get("logs"),
        "skipped_flows": list(findings.skipped),
    }
