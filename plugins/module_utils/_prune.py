# SPDX-License-Identifier: GPL-3.0-or-later
"""Old backups: which are kept and why, and how the others go."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ._engine import Plan, Step
from ._errors import SlipwayError
from ._export import EXPORTS
from ._files import sync_directory
from ._manifest import PARTIAL, manifest_of
from ._observation import parse_timestamp
from ._stored import make_directory

if TYPE_CHECKING:
    from ._site import Site

DAY = 86400


@dataclass(frozen=True)
class Policy:
    """A backup is kept while it is one of the `keep` newest, or younger than `days` days."""

    keep: int
    days: float


@dataclass(frozen=True)
class Listed:
    """A backup as a list shows it.

    :param bytes: the size of its files together; None, as `created` is, where the manifest cannot be read.
    :param kept: why it is kept; None when nothing asks for it any more.
    """

    id: str
    created: str | None
    release: str | None
    reason: str | None
    bytes: int | None
    kept: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def needed(site: Site) -> dict[str, str]:
    """The backups that a rollback would restore, each with the release that it would take back."""
    state = site.ledger.state()
    found = {}
    if state.candidate is not None and state.candidate.before.backup is not None:
        found[state.candidate.before.backup] = state.candidate.version
    before = site.ledger.before(state.current) if state.current else None
    if state.current is not None and before is not None and before.backup is not None:
        found[before.backup] = state.current
    if state.restoring is not None:
        found[state.restoring.saved] = found[state.restoring.backup] = "the restore that was begun"
    return found


def listing(site: Site, policy: Policy) -> list[Listed]:
    """All finished backups, newest first; those that cannot be read come last, and are for people to look at."""
    holding = needed(site)
    whole, damaged = [], []
    directories = site.backups.iterdir() if site.backups.is_dir() else ()
    for directory in sorted(path for path in directories if not path.name.startswith(".")):
        try:
            manifest = manifest_of(site, directory.name)
            why = "it has no manifest: look at it"
        except SlipwayError as error:
            manifest, why = None, str(error)
        if manifest is None:
            damaged.append(Listed(directory.name, None, None, None, None, why))
        else:
            whole.append(manifest)
    whole.sort(key=lambda item: (item["created"], item["id"]), reverse=True)
    listed = []
    for number, manifest in enumerate(whole):
        identity, created = manifest["id"], manifest["created"]
        if identity in holding:
            kept: str | None = f"to take back {holding[identity]}"
        elif number < max(policy.keep, 1):
            kept = "the newest" if number == 0 else f"one of the {policy.keep} newest"
        else:
            kept = f"younger than {policy.days:g} days" if _age(site, created) < policy.days * DAY else None
        size = sum(file["size"] for file in manifest["files"].values())
        listed.append(Listed(identity, created, manifest["release"], manifest["reason"], size, kept))
    return listed + damaged


def _age(site: Site, created: str) -> float:
    return (parse_timestamp(site.ledger.now()) - parse_timestamp(created)).total_seconds()


def _gone(path: Path) -> Callable[[], bool]:
    return lambda: not path.exists()


def prune(site: Site, policy: Policy) -> Plan:
    """The plan that removes the backups that nothing asks for, and what killed runs left half written.

    Its caller holds the site's lock, so that nobody writes one meanwhile. A backup leaves its place whole, by a rename:
    killed on the way, no half of it looks like a backup.
    """
    partial = site.backups / PARTIAL

    def remove(path: Path) -> None:
        make_directory(partial)
        moved = partial / path.name
        if path != moved:
            shutil.rmtree(moved, ignore_errors=True)
            path.rename(moved)
            sync_directory(site.backups)
        shutil.rmtree(moved)

    def step(name: str, path: Path) -> Step:
        return Step(f"remove {name} {path.name}", _gone(path), lambda: remove(path))

    steps = [step("backup", site.backups / item.id) for item in listing(site, policy) if item.kept is None]
    steps += [step("the half-written", path) for path in (sorted(partial.iterdir()) if partial.is_dir() else ())]
    exports = sorted(path for path in (site.ledger.root / EXPORTS).glob("*") if path.is_file())
    steps += [Step(f"remove what was not fetched, {path.name}", _gone(path), path.unlink) for path in exports]
    return Plan("prune", "backups", "backup", steps)
