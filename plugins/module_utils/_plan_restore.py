# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup put back under the release that stands: the state before it is saved, and nothing of it is thrown away."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._backup_files import archive_name
from ._database_restore import check_restorable, open_database, restore_database
from ._engine import Plan, Step
from ._errors import CommandError, SlipwayError
from ._files import opened, sync_directory
from ._ledger import RESTORED, Release, Restoring
from ._maintenance import show_page
from ._manifest import manifest_of
from ._observation import Observation
from ._plan_backup import take_backup
from ._plan_switch import answer_again, stop_code

if TYPE_CHECKING:
    from ._compose import Container
    from ._site import Site

EXTRACT_TIMEOUT = 7200


def _release_refusals(site: Site, backup: str, manifest: dict[str, Any]) -> list[str]:
    """Why a backup does not belong to the release that stands; restoring it would leave that code on another schema."""
    current, version = site.ledger.state().current, manifest["release"]
    release = site.ledger.release(version) if version else None
    if manifest["application"] != site.profile.name:
        return [f"backup {backup} is of the application {manifest['application']}, this is {site.profile.name}"]
    if release is None:
        return [f"backup {backup} belongs to release {version}, which this site never had: deploy {version} first"]
    if version != current:
        way = f"go back to {version} first (rollback.yml), then restore"
        return [f"backup {backup} belongs to release {version} and {current} stands here: {way}"]
    before = site.ledger.before(version)
    held, own = set(manifest["migrations"]), set(release.migrations)
    unknown = held - own - set(before.migrations if before else ()) - site.ledger.kept_under(version)
    return [
        f"backup {backup} {word} the migrations {', '.join(sorted(some))} of release {version}: use another"
        for word, some in (("lacks", own - held), ("has beyond", unknown))
        if some
    ]


def _upload_refusals(site: Site, backup: str, manifest: dict[str, Any]) -> list[str]:
    wrong = []
    for name in site.profile.uploads:
        if archive_name("uploads", name) not in manifest["files"]:
            wrong.append(f"backup {backup} holds no uploads of {name}: restore without them")
        elif os.path.ismount(site.directory / name):
            wrong.append(
                f"{site.directory / name} is a mount point and cannot be kept beside itself: see docs/restore.md"
            )
    return wrong


def check_restore(site: Site, backup: str, *, uploads: bool) -> dict[str, Any]:
    """The manifest of a backup that may be restored now; SlipwayError names everything that speaks against it."""
    state = site.ledger.state()
    if state.candidate is not None:
        raise SlipwayError(f"release {state.candidate.version} was left half done: run playbooks/rollback.yml first")
    manifest = check_restorable(site, backup)
    wrong = _release_refusals(site, backup, manifest)
    if uploads:
        wrong += _upload_refusals(site, backup, manifest)
    if wrong:
        raise SlipwayError("; ".join(wrong))
    return manifest


class _Restore:
    """The steps of one restore, each with the question whether it is done already."""

    def __init__(self, site: Site, backup: str, identity: str, *, uploads: bool) -> None:
        self.site = site
        self.manifest = check_restore(site, backup, uploads=uploads)
        begun = site.ledger.state().restoring
        same = begun is not None and (begun.backup, begun.uploads) == (backup, uploads)
        fresh = Restoring(backup, identity, site.ledger.stamp(), uploads)
        self.note = begun if begun is not None and same else fresh

    @property
    def release(self) -> Release:
        """The release that stands, and that the backup belongs to."""
        return self.site.ledger.known_release(self.manifest["release"])

    def begun(self) -> bool:
        """Whether this restore is noted, so that a killed one is one to go on with."""
        return self.site.ledger.state().restoring == self.note

    def begin(self) -> None:
        """Note it."""
        self.site.ledger.update(restoring=self.note)

    def swapped(self) -> bool:
        """Whether the backup's database has taken its place."""
        database = self.site.database
        return database.exists(database.kept_name(self.note.stamp))

    def saved(self) -> bool:
        """Whether the state before is a backup of its own, as far as there is one."""
        gone = not self.site.database.exists(self.site.database.name)
        return self.swapped() or gone or manifest_of(self.site, self.note.saved) is not None

    def save(self) -> dict[str, Any]:
        """Back the database up as it is; one too damaged to be dumped is kept all the same, by the swap."""
        try:
            taken = take_backup(
                self.site, self.note.saved, f"before {self.note.backup} is restored", database_only=True
            )
        except CommandError as error:
            return {"not_saved": str(error)}
        return {"saved": taken["backup"]}

    def stopped(self) -> bool:
        """Whether nothing of the application's code can write."""
        return self.swapped() or not self.site.code()

    def stop(self) -> dict[str, Any]:
        """Stop whatever runs the application's code."""
        return stop_code(self.site, self.release, self.site.code())

    def uploads(self, name: str) -> Step:
        """The step that puts a directory of uploads back; the one in its place is kept beside it."""
        place, fresh, kept = self._places(name)

        def put_back() -> dict[str, Any]:
            told = {f"kept {name}": str(kept)}
            # Where the old one is kept already, the new one was whole and only its last rename is left.
            if not kept.exists():
                taken = self._extract(self.site.backups / self.note.backup / archive_name("uploads", name), fresh)
                if taken:
                    told[f"not restored of {name}"] = f"{len(taken)} device nodes or bits: {', '.join(taken[:5])}"
                if place.exists():
                    place.rename(kept)
                else:
                    kept.mkdir(mode=0o700)
            elif place.exists() and any(place.iterdir()):
                raise SlipwayError(f"{place} was made anew while {fresh} was to take its place: move it away")
            # an empty one, as Docker makes it for a container that mounts it, is replaced
            fresh.rename(place)
            sync_directory(place.parent)
            return told

        return Step(f"put the uploads of {name} back", lambda: self._is_back(name), put_back)

    def _places(self, name: str) -> tuple[Path, Path, Path]:
        """Where a directory of uploads is, where the backup's is unpacked, and where the present one is kept."""
        place = self.site.directory / name
        return place, place.with_name(f"{place.name}_restored"), place.with_name(f"{place.name}_kept_{self.note.stamp}")

    def _is_back(self, name: str) -> bool:
        place, fresh, kept = self._places(name)
        return kept.exists() and place.exists() and not fresh.exists()

    def _behind(self) -> list[Container]:
        """Other containers that have uploads mounted, and go on with the directory that was kept, or is to be."""
        return [
            item
            for item in self.site.containers()
            if item.service not in self.site.code_services
            for name in self.site.profile.uploads
            for place in self._places(name)[:1]
            if any(place in (Path(bound), *Path(bound).parents) for bound in item.binds)
            and not (self._is_back(name) and item.started >= place.stat().st_ctime)
        ]

    def show_uploads(self) -> Step:
        """The step that lets a proxy, or whoever else serves uploads, see those that were put back."""

        def restart() -> dict[str, Any]:
            behind = self._behind()
            self.site.docker.restart([item.id for item in behind])
            return {"restarted": sorted({item.name for item in behind})}

        return Step("restart what serves the uploads", lambda: not self._behind(), restart)

    def _extract(self, archive: Path, target: Path) -> list[str]:
        """Unpack into a directory made anew; returns what was taken away of it (see _disarm).

        Whoever may write in the parent directory, which is not root's, may put something else under the target's name
        at any moment. So root works in the directory that it made, and nobody else enters it before all is done.
        """
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700)
        with opened(target, os.O_RDONLY | os.O_DIRECTORY) as made:
            status, here = os.fstat(made), f"/proc/self/fd/{made}"
            if status.st_uid != os.geteuid() or status.st_mode & 0o077 or any(Path(here).iterdir()):
                raise SlipwayError(f"{target} was replaced as it was made: find out by whom, then run the same again")
            argv = ["tar", "--extract", "--numeric-owner", "--same-owner", "--preserve-permissions"]
            argv += ["--no-overwrite-dir", "--file", str(archive)]
            self.site.runner.run(argv, cwd=here, timeout=EXTRACT_TIMEOUT)
            taken = _disarm(made)
            with tarfile.open(archive, "r:") as content:
                top = content.next()
            if top is not None and top.isdir():
                os.fchown(made, top.uid, top.gid)
                os.fchmod(made, top.mode)
            self.site.runner.run(["sync", "--file-system", "."], cwd=here, timeout=EXTRACT_TIMEOUT)
        return taken

    def verify(self) -> list[str]:
        """What is not as the backup has it; when all is, the restore is over."""
        wrong = self.site.runs(self.release)
        if self.site.database.migrations() != self.manifest["migrations"]:
            wrong.append(f"the applied migrations are not those of backup {self.note.backup}")
        if not wrong:
            history = self.site.ledger.event(
                self.release.version,
                RESTORED,
                backup=self.note.backup,
                saved=self.note.saved if manifest_of(self.site, self.note.saved) else None,
                kept_database=self.site.database.kept_name(self.note.stamp) if self.swapped() else None,
            )
            self.site.ledger.update(restoring=None, history=history)
        return wrong

    def evidence(self) -> list[Observation]:
        """See whether the schema is the backup's."""
        database, schema = self.site.database, self.manifest["database"]["schema"]
        same = database.schema(like=schema) == schema
        detail = "as in the backup" if same else f"not as in backup {self.note.backup}"
        return [Observation("schema", database.name, self.site.ledger.now(), None, None, ok=same, detail=detail)]


def _disarm(directory: int) -> list[str]:
    """Take away what would lend somebody the rights of others: device nodes, and the bits setuid and setgid of files.

    Returns the paths of these.
    """
    found = []
    for place, _directories, names, inside in os.fwalk(".", dir_fd=directory):
        for name in names:
            mode = os.stat(name, dir_fd=inside, follow_symlinks=False).st_mode
            device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
            if device:
                os.unlink(name, dir_fd=inside)
            elif stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                with opened(name, os.O_RDONLY, inside) as file:
                    os.fchmod(file, mode & 0o1777)
            else:
                continue
            found.append(f"{place}/{name}"[2:])
    return found


def restore(site: Site, backup: str, identity: str, *, uploads: bool) -> Plan:
    """Plan to put `backup` back.

    :param identity: names the backup of the state before.
    :param uploads: whether the directories of uploads go back too.
    :raises SlipwayError: the backup is damaged, too new, or of another release; nothing was touched.
    """
    way = _Restore(site, backup, identity, uploads=uploads)

    def put_back() -> dict[str, Any]:
        return restore_database(site, backup, way.note.stamp)

    steps = [
        Step("begin the restore", way.begun, way.begin),
        open_database(site),
        Step("save the database as it is", way.saved, way.save),
        # a proxy that is restarted looks for somebody to send requests to
        show_page(site, way.release, lambda: not way.stopped() or (uploads and not site.code())),
        Step("stop the code", way.stopped, way.stop),
        Step("restore the database", way.swapped, put_back),
        *(way.uploads(name) for name in (site.profile.uploads if uploads else ())),
        *([way.show_uploads()] if uploads else []),
        *answer_again(site, way.release),
    ]
    return Plan("restore", backup, "backup", steps, way.verify, way.evidence)
