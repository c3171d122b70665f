# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a backup is one: it is restored into a PostgreSQL of its own, and compared with what the database held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import _fingerprint as fingerprint
from ._engine import Step
from ._errors import SlipwayError
from ._manifest import check_backup, manifest_of
from ._scratch import Scratch

if TYPE_CHECKING:
    from ._postgres import Database
    from ._site import Site

# Bytes of a database above which a backup is read back whole, but not restored.
RESTORED_UP_TO = 50e9


def compare(database: Database, manifest: dict[str, Any]) -> list[str]:
    """What of a restored backup is not as it was at its point in time; empty when all is."""
    before = fingerprint.Fingerprint.from_dict(manifest["fingerprint"])
    after = fingerprint.take(
        lambda sql: database.read_whole(sql, database=database.name), fingerprint.SAMPLE_ABOVE, like=before
    )
    wrong, schema = fingerprint.differences(before, after), manifest["database"]["schema"]
    if not wrong and database.schema(like=schema) != schema:
        wrong = ["the schema is another"]
    return [f"backup {manifest['id']} does not hold what the database held: {line}" for line in wrong[:3]]


def web_image(site: Site, version: str) -> str:
    """The image that the web service of a release runs."""
    return site.ledger.known_release(version).images[site.profile.services.web]


def begin_trial(site: Site, backup: str, served: str | None = None, *, cache: bool = False) -> None:
    """Start what a backup is restored into, so that it is there when the backup is.

    :param served: the release whose web service is to be tried on it, if so.
    :param cache: whether any code of the application is.
    """
    image = None if served is None else web_image(site, served)
    Scratch(site).begin(site.compose.config["services"], backup, image, cache=cache)


def trial_of(site: Site, backup: str, served: str | None = None, *, cache: bool = False) -> Scratch:
    """What a backup is restored into, ready for that: what `begin_trial` began, or begun now."""
    scratch, services = Scratch(site), site.compose.config["services"]
    if not (scratch.begun(backup, web=served is not None, cache=cache) and scratch.ready(services)):
        begin_trial(site, backup, served, cache=cache)
        # it knows the names only now
        scratch = Scratch(site)
        scratch.ready(services)
    return scratch


def verify_backup(site: Site, backup: str) -> list[str]:
    """What is wrong with a backup: its files by hash, then what it gives when it is restored."""
    wrong = check_backup(site, backup)
    if wrong:
        return wrong
    manifest, directory = manifest_of(site, backup) or {}, site.backups / backup / "database"
    if manifest["database"]["bytes"] > RESTORED_UP_TO:
        held, tables = site.database.read_back(directory), manifest["database"]["tables"]
        return [] if held == tables else [f"backup {backup} holds the rows of {held} tables, the database had {tables}"]
    try:
        scratch = trial_of(site, backup)
        scratch.load(directory, manifest)
        return compare(scratch.database, manifest)
    finally:
        Scratch(site).remove()


def prove_backup(site: Site, version: str) -> Step:
    """The step that proves the candidate's backup where its rehearsal did not, as there was no migration to try."""

    def proven() -> bool:
        certificate = site.ledger.certificate(version)
        return certificate is None or certificate.proven or not certificate.backup

    def prove() -> dict[str, Any]:
        certificate = site.ledger.certificate(version)
        if certificate is None:
            return {}
        wrong = verify_backup(site, certificate.backup)
        if wrong:
            raise SlipwayError("; ".join(wrong))
        site.ledger.save_certificate(replace(certificate, proven=True))
        return {"proven": certificate.backup}

    return Step("prove the backup", proven, prove, probe="backup")
