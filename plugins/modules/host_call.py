#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the library on a host: all that the modules do there, sent once and compiled, then used by every call.

A module that Ansible packs takes what it imports along each time, and Python compiles it each time: with the whole
engine that was a second a call, and half of that for Ansible's own part. So this file comes alone, as one of Ansible's
"jsonargs" modules: its arguments are written into it, and it imports nothing of Ansible. The action plugin names the
library that it means by a digest, and sends it where the host has not that one.

    /var/cache/slipway/DIGEST/slipway/*.py    the files plugins/module_utils/_*.py
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_call
short_description: Run one call of the library on a host
version_added: 0.1.0
description:
  - The way to the host that the other modules of this collection share. Their action plugin uses it; playbooks do not.
author: Slipway contributors (@slipway)
options:
  call:
    description: What is to be done, as the action plugin writes it.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: In check mode nothing is changed, and the result says what would be.
"""

EXAMPLES = r"""
- name: Show what runs, which is how this module is used
  slipway.release.status:
    application: "{{ application }}"
"""

RETURN = r"""
library_missing:
  description: Whether the host has not the library that was meant, so that nothing was done.
  returned: when it is so
  type: bool
"""

import base64
import compileall
import hashlib
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path("/var/cache/slipway")
PACKAGE = "slipway"
# Ansible writes its arguments here
GIVEN = r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>"""


def digest_of(files: dict[str, bytes]) -> str:
    """The SHA-256 of files, by their names and contents."""
    parts = (hashlib.sha256(name.encode()).digest() + hashlib.sha256(files[name]).digest() for name in sorted(files))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def install(root: Path, digest: str, content: bytes) -> None:
    """Unpack and compile a library below `root`; ValueError when it is not the one that `digest` means.

    It appears under its name when it is complete. Others go: whoever comes with another version sends that again.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if digest_of(files) != digest or any("/" in name for name in files):
        raise ValueError("it is not what was sent")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.geteuid():
        raise ValueError("the directory belongs to somebody else")
    partial = Path(tempfile.mkdtemp(dir=root))
    (partial / PACKAGE).mkdir()
    for name, text in files.items():
        (partial / PACKAGE / name).write_bytes(text)
    compileall.compile_dir(str(partial), quiet=2)
    try:
        partial.rename(root / digest)
    except OSError:
        # somebody else was here first
        if not (root / digest).is_dir():
            raise
    for other in root.iterdir():
        if other.name != digest:
            shutil.rmtree(other)


def run(root: Path, call: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked for; returns a module's result.

    :param call: `library` is the digest, `content` the library where the host has not got it; `name` and the rest are
        what `_host_module.perform` takes.
    """
    directory = root / call.pop("library")
    content = call.pop("content", None)
    try:
        if content:
            install(root, directory.name, base64.b64decode(content))
        elif not directory.is_dir():
            return {"changed": False, "library_missing": True}
    except (OSError, ValueError) as error:
        return {"failed": True, "msg": f"the library cannot be put into {root}: {error}"}
    sys.path.insert(0, str(directory))
    answer = importlib.import_module(f"{PACKAGE}._call_{call.pop('name')}").answer
    done: dict[str, Any] = importlib.import_module(f"{PACKAGE}._host_module").perform(answer, **call)
    return done


def main() -> None:
    """Run the module."""
    result = run(ROOT, json.loads(base64.b64decode(json.loads(GIVEN)["call"])))
    print(json.dumps(result))  # noqa: T201 - a module's result is what it prints
    sys.exit(1 if result.get("failed") else 0)


if __name__ == "__main__":
    main()
