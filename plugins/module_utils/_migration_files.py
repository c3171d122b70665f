# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration files as Rails finds them: in subdirectories too, by the number before the first underscore."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"(?:.*/)?([0-9]+)_[^/]*\.rb")


def version_of(path: str) -> str | None:
    """The version of a migration file, as Rails records it; None for a file that is none."""
    match = _NAME.fullmatch(path)
    return str(int(match[1])) if match else None


def migration_files(directory: Path) -> dict[str, list[Path]]:
    """The migration files in a directory by their versions, ascending."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("**/*.rb")):
        version = version_of(path.name)
        if version is not None:
            found.setdefault(version, []).append(path)
    return dict(sorted(found.items(), key=lambda item: int(item[0])))
