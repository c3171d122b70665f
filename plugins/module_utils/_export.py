# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup made ready to leave its host: one file, encrypted for recipients whose keys this host does not have."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._engine import Plan, Step
from ._errors import SlipwayError
from ._files import sync_directory
from ._helpers import program
from ._manifest import check_files
from ._stored import finish, piped, send

if TYPE_CHECKING:
    from ._site import Site

EXPORTS = "exports"
_RECIPIENT = re.compile(r"age1[0-9a-z]{10,}")


def export_path(site: Site, backup: str) -> Path:
    """Where the encrypted file waits to be fetched."""
    return site.ledger.root / EXPORTS / f"{backup}.tar.age"


def export(site: Site, backup: str, recipients: Sequence[str], owner: int) -> Plan:
    """The plan that encrypts a backup.

    :param owner: the user (a uid) who fetches it; what it holds is closed to that user too.
    """
    wrong = [name for name in recipients if not _RECIPIENT.fullmatch(name)]
    if wrong or not recipients:
        named = f"{wrong[0]!r} is none" if wrong else "none is named"
        raise SlipwayError(
            f"a backup leaves its host only for age recipients (age1...), and {named}: mend backup_recipients"
        )
    path = export_path(site, backup)

    def encrypt() -> dict[str, Any]:
        age = program(site.ledger.root, "age", "a backup leaves it only encrypted")
        damaged = check_files(site, backup)
        if damaged:
            raise SlipwayError("; ".join(damaged))
        path.parent.mkdir(mode=0o711, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        keys = [word for name in recipients for word in ("--recipient", name)]
        with tempfile.TemporaryFile() as errors:
            argv = [age, "--encrypt", *keys, "--output", str(partial)]
            process = site.runner.stream(argv, errors)
            send(site.backups / backup, piped(process.stdin), f"{backup}/")
            finish(process, errors, ["age", "--encrypt"])
        if owner != os.geteuid():
            os.chown(partial, owner, -1)
        partial.rename(path)
        sync_directory(path.parent)
        return {"exported": backup, "recipients": list(recipients)}

    return Plan("export", backup, "backup", [Step("encrypt the backup", path.exists, encrypt)])


def withdraw(site: Site, backup: str) -> Plan:
    """The plan that removes the encrypted file again."""
    path = export_path(site, backup)
    return Plan("export", backup, "backup", [Step("remove the encrypted file", lambda: not path.exists(), path.unlink)])
