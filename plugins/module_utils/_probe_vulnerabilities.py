# SPDX-License-Identifier: GPL-3.0-or-later
"""The vulnerabilities that are known of what runs, against those of the release before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import _host_reports as host_reports
from ._bundle_take import came_by_bundle
from ._observation import Observation, timestamp
from ._scan_reports import Report
from ._scanner import scan_all
from ._vulnerabilities import HOST, Comparison, Known, Policy, ScanEvidence, Scanner, seen_of

if TYPE_CHECKING:
    from ._site import Site


def _known(site: Site, version: str, commit: str | None = None) -> Known:
    """What the ledger knows of a release; of one that was not staged yet the commit that its gate found."""
    release = site.ledger.release(version)
    if release is None:
        return Known(version, commit, (), _others(site))
    kept = (site.kept_name(service, version) for service in release.images)
    names = (*release.references.values(), *kept)
    return Known(version, release.commit, tuple(release.images.values()), names)


def _others(site: Site) -> tuple[str, ...]:
    """The images of the services that do not run the application's code: a new release most often keeps them."""
    current = site.ledger.state().current
    release = site.ledger.release(current) if current else None
    if release is None:
        return ()
    return tuple(name for service, name in release.references.items() if service not in site.code_services)


def compare_versions(
    site: Site, evidence: ScanEvidence, versions: tuple[str, str | None], now: datetime, commit: str | None = None
) -> Comparison:
    """Compare a release with the one that stands behind it, by the reports at hand."""
    version, before = versions
    known = _known(site, version, commit)
    present = seen_of(known, evidence.reports, evidence.policy, now)
    old = seen_of(_known(site, before), evidence.reports, evidence.policy, now) if before else None
    return Comparison(present, old, evidence.policy, now)


def _standing(site: Site) -> tuple[str, str | None] | None:
    """The release that is looked at, and the one that stands behind it; None where no release stands."""
    state = site.ledger.state()
    version = state.candidate.version if state.candidate else state.current
    if version is None:
        return None
    replaced = state.candidate.before if state.candidate else site.ledger.before(version)
    return version, replaced.version if replaced else None


def probe_reports(
    site: Site, policy: Policy, last: Mapping[str, Any] | None, now: datetime
) -> tuple[list[Observation], dict[str, Any] | None]:
    """Compare what runs with the release before by the reports on the host; see `_host_reports.look`."""
    standing = _standing(site)
    if standing is None:
        return [], None
    version, before = standing
    known = _known(site, version), _known(site, before) if before else None
    return host_reports.look(site.runner, site.ledger.root / host_reports.PLACE, known, policy, last, now)


def probe_vulnerabilities(site: Site, evidence: ScanEvidence, now: datetime) -> Comparison | None:
    """Compare what runs with the release before; None where no release stands."""
    standing = _standing(site)
    if standing is None:
        return None
    version, before = standing
    scanner = evidence.policy.scanner
    if scanner is None or scanner.where != HOST:
        return compare_versions(site, evidence, (version, before), now)
    # both with the same database
    offline = any(came_by_bundle(site.ledger, name) for name in (version, before) if name)
    pairs = ((version, before), (before, version))
    scanned = [report for one, other in pairs for report in _scanned(site, scanner, one, other, offline=offline)]
    # an image that both have was not scanned, and has nothing that the other has not
    looked = {report.scanner for report in scanned} or {"no image differs"}
    nothing = [Report(name, source, timestamp(now), (), ()) for name in (version, before) if name for source in looked]
    together = ScanEvidence(evidence.policy, (*evidence.reports, *scanned, *nothing))
    return compare_versions(site, together, (version, before), now)


def _scanned(site: Site, scanner: Scanner, version: str | None, other: str | None, *, offline: bool) -> list[Report]:
    """Scan those images of a release that the other has not."""
    release = site.ledger.release(version) if version else None
    beside = site.ledger.release(other) if other else None
    if release is None:
        return []
    shared = set(beside.images.values()) if beside else set()
    own = {image: service for service, image in release.images.items() if image not in shared}
    images = [site.kept_name(service, release.version) for service in own.values()]
    return scan_all(scanner, release.version, images, offline=offline)
