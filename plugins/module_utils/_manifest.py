# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup: what it is, and the size and SHA-256 of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import SlipwayError
from ._files import read_record, write_record
from ._stored import StoredFile, sha256_of

if TYPE_CHECKING:
    from ._site import Site

FORMAT = 2
NAME = "manifest.json"
PARTIAL = ".partial"


def write_manifest(directory: Path, content: Mapping[str, Any], files: Mapping[str, StoredFile]) -> None:
    """Write the manifest of a backup whose other files are in place."""
    manifest = {
        "format": FORMAT,
        **content,
        "files": {name: asdict(file) for name, file in sorted(files.items())},
    }
    write_record(directory / NAME, {**manifest, "checksum": _checksum(manifest)})


def _checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of all of a manifest but its own checksum."""
    told = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def manifest_of(site: Site, backup: str) -> dict[str, Any] | None:
    """The manifest of a finished backup, or None; SlipwayError for one that cannot be trusted or is too new."""
    path = site.backups / backup / NAME
    manifest = read_record(path, dict, f"backup {backup} cannot be trusted, use another")
    if manifest is None:
        return None
    written = manifest.get("format")
    if written != FORMAT:
        raise SlipwayError(f"{path} has format {written}, this version reads {FORMAT}: use the Slipway that wrote it")
    if manifest.get("checksum") != _checksum(manifest):
        raise SlipwayError(f"{path} is not what was written: backup {backup} cannot be trusted, use another")
    return manifest


def check_files(site: Site, backup: str) -> list[str]:
    """What is wrong with a backup as it lies on the disk, by its manifest; empty when nothing is."""
    try:
        manifest = manifest_of(site, backup)
    except SlipwayError as error:
        return [str(error)]
    directory = site.backups / backup
    if manifest is None:
        return [f"backup {backup} is not in {site.backups}: playbooks/restore.yml lists those that are"]
    found = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if not path.is_dir()}
    found.pop(NAME, None)
    strange = [f"{path} is not in the manifest" for name, path in found.items() if name not in manifest["files"]]
    with ThreadPoolExecutor(2) as pool:
        wrong = pool.map(lambda item: _wrong(directory / item[0], item[1]), manifest["files"].items())
        return [line for line in wrong if line is not None] + strange


def _wrong(path: Path, expected: Mapping[str, Any]) -> str | None:
    """What is wrong with a file of a backup; None when nothing is."""
    if path.is_symlink() or not path.is_file():
        return f"{path} is missing"
    if path.stat().st_size != expected["size"]:
        return f"{path} has {path.stat().st_size} bytes, not {expected['size']}"
    return None if sha256_of(path) == expected["sha256"] else f"{path} is not what was written: its SHA-256 differs"


def major(version: str) -> int:
    """The major part of a PostgreSQL version such as 17.6."""
    return int(version.partition(".")[0])


def check_backup(site: Site, backup: str) -> list[str]:
    """What keeps a backup from being restored here: its files, or a PostgreSQL older than the one it came from."""
    wrong = check_files(site, backup)
    if wrong:
        return wrong
    manifest = manifest_of(site, backup) or {}
    here, written = site.database.server_major(), major(manifest["postgresql"])
    if written > here:
        return [f"backup {backup} comes from PostgreSQL {written}, {here} runs here: restore it where {written} runs"]
    absent = site.database.missing_roles(manifest["database"]["roles"])
    return [f"backup {backup} needs the role {name}, which PostgreSQL has not here: create it" for name in absent]
