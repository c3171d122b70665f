# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that a host may lack and that a bundle brought, by its architecture: they are kept beside the ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

from ._bundle_manifest import HELPERS
from ._errors import SlipwayError


def place_of(root: Path, name: str) -> Path:
    """Where a program is kept.

    :param root: the ledger's directory.
    """
    return root / HELPERS / name


def program(root: Path, name: str, why: str) -> str:
    """How a program is called: the host's own, else the one that a bundle brought.

    :param why: what it is needed for, said where there is none.
    """
    if shutil.which(name) is not None:
        return name
    kept = place_of(root, name)
    if not kept.is_file():
        raise SlipwayError(f"{name} is not on this host, and {why}: install it, or bundle it (docs/bundle.md)")
    return str(kept)
