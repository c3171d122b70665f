# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal: the fresh backup is restored where nobody is, and the release's migrations are tried on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from . import _fingerprint as fingerprint
from ._certificate import Certificate
from ._engine import Plan, Step
from ._errors import OutOfOrderError, SlipwayError
from ._manifest import check_files, manifest_of
from ._observation import Observation
from ._plan_migrate import migration_reason
from ._plan_rollback import for_one_of_several_databases, migrations_to_undo, rollback_commands
from ._probe import Prober
from ._probe import Request as Look
from ._probe_pages import answered
from ._scratch import OLD, Scratch
from ._trace import Trace, hazards
from ._verify import RESTORED_UP_TO, compare, trial_of, web_image
from ._warm import await_up, client_at

if TYPE_CHECKING:
    from ._http import Client
    from ._ledger import Before, Release
    from ._site import Site

REQUIRED, STAGING, WAIVED = "required", "staging", "waived"
_BASE, _FORWARD = "slipway_base", "slipway_forward"
_STARTS_WITHIN = 120


@dataclass(frozen=True)
class Policy:
    """How much has to be tried before the site's own data is touched.

    :param mode: REQUIRED rehearses here, STAGING accepts `certificate` instead, WAIVED tries no migration.
    :param limit: bytes of a database above which nothing is restored for a trial.
    :param expected: tables and columns whose values the release is meant to change or to drop.
    :param timeout: seconds that migrating may take.
    """

    mode: str = REQUIRED
    limit: float = RESTORED_UP_TO
    expected: Sequence[str] = ()
    timeout: float = 3600
    certificate: Certificate | None = None


@dataclass
class _Rehearsal:
    """One rehearsal, on a copy that only it knows."""

    site: Site
    release: Release
    before: Before
    backup: dict[str, Any]
    policy: Policy
    boots: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scratch = Scratch(self.site)
        self.database = self.scratch.database
        self.name = self.site.profile.database.name
        # whether any page or flow of the release before worked on the copy
        self.worked = False

    def run(self) -> tuple[list[str], Certificate]:
        """Restore, compare, migrate, compare, take down, compare; the release before is tried on the way.

        :returns: what is wrong with the backup, and the certificate.
        """
        blank = _blank(self.site, self.release, self.before)
        try:
            tried = self.policy.mode == REQUIRED
            with self._timed("start"), self.site.at_rest():
                served = self.before.version if tried else None
                self.scratch = trial_of(self.site, self.backup["id"], served, cache=tried)
                self.boots += served is not None
            self.database = self.scratch.database
            with self._timed("restore"):
                self.scratch.load(self.site.backups / self.backup["id"] / "database", self.backup)
            with self._timed("compare"):
                wrong = compare(self.database, self.backup)
            if wrong or not tried:
                return wrong, replace(blank, seconds=self.seconds)
            old = None if self.before.version is None else self.scratch.web_container(OLD)
            return [], self._try(replace(blank, migrations=new_migrations(self.release, self.before)), old)
        finally:
            self.scratch.remove()

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - begun, 2)

    def _query(self, sql: str) -> list[list[str]]:
        return self.database.read_whole(sql, database=self.name)

    def _query_forward(self, sql: str) -> list[list[str]]:
        return self.database.read_whole(sql, database=_FORWARD)

    def _take(self, like: fingerprint.Fingerprint | None = None) -> fingerprint.Fingerprint:
        return fingerprint.take(self._query, fingerprint.SAMPLE_ABOVE, like)

    def _rails(self, name: str, *command: str) -> tuple[str | None, str]:
        """Boot Rails on the copy; returns why it failed, or None, and what it printed."""
        services = self.site.compose_of(self.release).config["services"]
        image = self.release.images[self.site.profile.services.web]
        self.boots += 1
        with self._timed(name):
            code, printed = self.scratch.rails(services, image, *command, timeout=self.policy.timeout)
        log = self.site.log(self.release.version, f"rehearsal-{name}", printed)
        return None if code == 0 else f"{migration_reason(printed)} (all of it: {log})", printed

    def _try(self, blank: Certificate, old: str | None) -> Certificate:
        # what fails before the migrations is not their doing; and now its processes know the old schema
        known = self._old_code("old code before", old) or []
        base = self._take()
        self.scratch.copy(_BASE)
        trace = Trace(self._query)
        trace.begin()
        failed, printed = self._rails("migrate", "bin/rails", "db:migrate")
        seen = trace.end(base.tables, printed)
        notes = hazards(self.site.source(self.release.version) / self.site.profile.migrations_path, blank.migrations)
        tried = replace(
            blank,
            locks=seen.locks,
            rewritten=seen.rewritten,
            writes=seen.writes,
            rows={name: table.rows for name, table in base.tables.items() if name in seen.writes},
            notes=[*notes, *seen.notes],
            seconds=self.seconds,
        )
        if failed is None:
            applied = self.database.migrations()
            expected = sorted({*self.before.migrations, *blank.migrations}, key=int)
            if applied != expected:
                failed = f"applied migrations differ from expectation: {', '.join(sorted({*applied} ^ {*expected}))}"
        if failed is not None:
            return replace(tried, failed=failed)
        # before the flows of the old code write
        self.scratch.copy(_FORWARD)
        with ThreadPoolExecutor(1) as beside:
            old_code = beside.submit(self._old_code_afterwards, old, known)
            forward = fingerprint.take(self._query_forward, fingerprint.SAMPLE_ABOVE, base)
            old_rows = fingerprint.only_rows_of(self._query_forward, base, forward, _BASE)
            drops = self._drops(base, forward)
            running_on, started_anew = old_code.result()
        self.scratch.put_back(_FORWARD)
        return replace(
            tried,
            destroyed=fingerprint.losses(base, old_rows),
            losses=fingerprint.losses(base, old_rows, self.policy.expected),
            drops=drops,
            down_wrong=self._take_down(base),
            side_by_side_wrong=running_on,
            old_code_wrong=started_anew,
        )

    def _drops(self, base: fingerprint.Fingerprint, forward: fingerprint.Fingerprint) -> dict[str, int]:
        """How many values each column holds that the migrations brought."""
        new = [
            (name, column)
            for name, table in forward.tables.items()
            for column in table.columns
            if name not in base.tables or column not in base.tables[name].columns
        ]
        counts = fingerprint.count_values(self._query_forward, new)
        return {f"{table}.{column}": count for (table, column), count in zip(new, counts)}

    def _take_down(self, base: fingerprint.Fingerprint) -> list[str]:
        """Take the migrations down as a rollback would; returns in what the copy is not as it was before them."""
        applied = self.database.migrations()
        undo = migrations_to_undo(applied, self.before.migrations)
        for command in rollback_commands(self.release, applied, undo):
            failed, printed = self._rails("down", *command)
            again = for_one_of_several_databases(command, printed) if failed is not None else None
            if again is not None:
                failed, _ = self._rails("down", *again)
            if failed is not None:
                return [failed]
        if self.database.migrations() != self.before.migrations:
            return ["other migrations are applied than before"]
        wrong = fingerprint.differences(base, self._take(base))
        if not wrong and self.database.schema(database=self.name, like=self.before.schema) != self.before.schema:
            wrong = ["the schema is not what it was, though rows, constraints and indexes are"]
        return wrong

    def _old_code_afterwards(self, old: str | None, known: list[str]) -> tuple[list[str] | None, list[str] | None]:
        """What fails on the new schema: of the old code that runs on, and of old code that is started on it."""
        if old is None or self.before.version is None:
            return None, None
        if known and not self.worked:
            # that nothing more fails would prove nothing
            self.scratch.end(old)
            return [f"none of its pages and flows works before the migrations either: {known[0]}"], None
        image = web_image(self.site, self.before.version)
        self.boots += 1
        with ThreadPoolExecutor(1) as beside:
            booting = beside.submit(self.scratch.serve, self.site.compose.config["services"], image, "anew")
            running_on = self._old_code("old code running on", old, known)
            anew = booting.result()
        started_anew = self._old_code("old code", anew, known)
        self.scratch.end(old, anew)
        return running_on, started_anew

    def _old_code(self, part: str, container: str | None, known: Sequence[str] = ()) -> list[str] | None:
        """Let the release before go through its flows and pages; returns what failed, but for what is `known` to.

        None where there is no release before.
        """
        if container is None:
            return None
        profile = self.site.profile
        with self._timed(part):
            found, problem = await_up(partial(self._at, container), _STARTS_WITHIN)
            if found is None or problem is not None:
                log = self.site.log(self.release.version, "rehearsal-old-code", self.scratch.logs(container))
                return [f"it did not start: {problem} (its log: {log})"]
            url, client = found
            prober = Prober(replace(profile, base_url=url), client, self.site.runner)
            seen = prober.run(Look(("flows", "pages"))).observations
        self.worked = self.worked or any(map(answered, seen))
        failed = [item for item in seen if not item.ok and not self._is_known(item, known)]
        return [f"{item.subject}: {item.detail}" for item in failed]

    @staticmethod
    def _is_known(item: Observation, known: Sequence[str]) -> bool:
        return any(line.startswith(f"{item.subject}: ") for line in known)

    def _at(self, container: str) -> tuple[str, Client] | None:
        """The URL of a web container and what asks it.

        One whose entrypoint needs the database ends until that is there, and has another address each time it starts.
        """
        address = self.scratch.address(container)
        return client_at(self.site.profile, address) if address else None


def new_migrations(release: Release, before: Before) -> list[str]:
    """The versions of the migrations that a release brings, ascending."""
    return sorted(set(release.migrations) - set(before.migrations), key=int)


def _blank(site: Site, release: Release, before: Before) -> Certificate:
    return Certificate(release.version, release.commit, before.backup or "", site.ledger.now(), [])


class _Result:
    """What a rehearsal found, for the plan's evidence."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.observations: list[Observation] = []

    def see(self, probe: str, subject: str, *, ok: bool | None, detail: str) -> None:
        """Add what was seen."""
        self.observations.append(Observation(probe, subject, self.site.ledger.now(), None, None, ok=ok, detail=detail))


def rehearse(site: Site, version: str, policy: Policy) -> Plan:
    """Plan to prove the candidate's backup by restoring it, and to try its migrations on the copy.

    What it finds is evidence: the judge decides by it. Only a rehearsal that could not be held is a failure.
    """
    candidate = site.ledger.state().candidate
    if candidate is None or candidate.version != version or not candidate.reached("backed_up"):
        raise OutOfOrderError(f"release {version} was not backed up: start deploy.yml from its beginning")
    release, before = site.ledger.known_release(version), candidate.before
    result = _Result(site)

    def done() -> bool:
        return candidate.reached("rehearsed")

    def hold() -> dict[str, Any]:
        if before.backup is None:
            result.see("rehearsal", "migrations", ok=None, detail="an empty database: there is nothing to try them on")
            site.ledger.enter("rehearsed")
            return {}
        certificate, facts = _certify(site, release, before, policy, result)
        site.ledger.save_certificate(certificate)
        _report(result, certificate, policy)
        if all(item.ok is not False for item in result.observations):
            site.ledger.enter("rehearsed")
        plan = certificate.plan(before.version or "nothing")
        return {**facts, "certificate": certificate.to_dict(), "rollback_plan": plan}

    return Plan("rehearse", version, "rehearsal", [Step("rehearse", done, hold)], evidence=lambda: result.observations)


def _certify(
    site: Site, release: Release, before: Before, policy: Policy, result: _Result
) -> tuple[Certificate, dict[str, Any]]:
    """Try what there is to try; returns the certificate, and the facts of a trial that was held."""
    accepted = _accepted(site, release, before, policy)
    backup = manifest_of(site, before.backup or "") or {}
    if backup["database"]["bytes"] > policy.limit:
        return _too_large(site, backup, accepted, result), {}
    if not new_migrations(release, before):
        # with nothing to try, the backup is proved while the release starts
        return accepted or _blank(site, release, before), {}
    rehearsal = _Rehearsal(site, release, before, backup, policy)
    held = _held(site, backup, rehearsal, result)
    return replace(accepted or held, proven=held.proven), {"rehearsal_boots": rehearsal.boots}


def _too_large(site: Site, backup: dict[str, Any], accepted: Certificate | None, result: _Result) -> Certificate:
    """The certificate that stands in for a trial which would take too long."""
    if accepted is None:
        raise SlipwayError(
            f"the database has {backup['database']['bytes'] / 1e9:.0f} GB, more than rehearse_limit: raise "
            "it, or give a certificate from staging, or waive the rehearsal (rehearse_policy)"
        )
    Scratch(site).remove()
    result.see("backup", backup["id"], ok=True, detail="hashes are right; too large to be restored for a trial")
    return replace(accepted, proven=True)


def _held(site: Site, backup: dict[str, Any], rehearsal: _Rehearsal, result: _Result) -> Certificate:
    """The certificate of a rehearsal that is held now, after a look at the backup's files."""
    wrong = check_files(site, backup["id"])
    if wrong:
        raise SlipwayError("; ".join(wrong))
    broken, certificate = rehearsal.run()
    restored = f"restored and compared: {backup['database']['tables']} tables"
    result.see("backup", backup["id"], ok=not broken, detail="; ".join(broken) or restored)
    return replace(certificate, proven=not broken)


def _accepted(site: Site, release: Release, before: Before, policy: Policy) -> Certificate | None:
    """The certificate that stands in for a rehearsal here, by policy; None when one is to be held."""
    if policy.mode == WAIVED:
        # it names no migration, so that a rollback tries to take them down and restores when that fails
        note = "the rehearsal was waived: nobody has tried these migrations on this site's data"
        return Certificate(release.version, release.commit, before.backup or "", site.ledger.now(), [], notes=[note])
    if policy.mode != STAGING:
        return None
    given = policy.certificate
    if given is None:
        raise SlipwayError(
            "rehearse_policy is staging and rehearse_certificate is not given: give it, or rehearse here"
        )
    tried = set(before.migrations) | set(given.migrations)
    if given.commit != release.commit or not set(release.migrations) <= tried or not given.good:
        raise SlipwayError(
            f"rehearse_certificate is of {given.version} at {given.commit[:12]} with {len(given.migrations)} migrations"
            f"{'' if given.good else ', and a bad one'}: it does not cover {release.version} at {release.commit[:12]}"
        )
    # staging has other rows: how many its migrations wrote says nothing here
    return replace(given, backup=before.backup or "", writes={}, proven=False)


def _report(result: _Result, certificate: Certificate, policy: Policy) -> None:
    count = len(certificate.migrations)
    if policy.mode == WAIVED:
        result.see("rehearsal", "migrations", ok=None, detail=certificate.notes[0])
        return
    if certificate.failed is not None:
        result.see("migration", "rehearsal: db:migrate", ok=False, detail=certificate.failed)
        return
    if not count:
        return
    took = certificate.seconds.get("migrate", 0)
    result.see("migration", "rehearsal: db:migrate", ok=True, detail=f"{count} migrations in {took:.1f} s")
    kept = "every value from before is still there"
    result.see("data", "rehearsal", ok=not certificate.losses, detail="; ".join(certificate.losses[:5]) or kept)
    result.see("rehearsal", "way back", ok=True, detail=certificate.road)
