# SPDX-License-Identifier: GPL-3.0-or-later
"""The library on a host: all that the modules do there, sent once and compiled, then used by every call.

A module that Ansible sends takes what it imports along each time, and Python compiles it each time: with the whole
engine that was a second a call. So a module imports this file alone. The action plugin names the library that it means
by a digest, and sends it where the host has not that one.

    /var/cache/slipway/DIGEST/slipway/*.py    what this directory holds, but for this file
"""

from __future__ import annotations

import base64
import compileall
import hashlib
import importlib
import io
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ROOT = Path("/var/cache/slipway")
PACKAGE = "slipway"
ARGUMENT = {
    "library": {
        "type": "dict",
        "options": {"digest": {"type": "str", "required": True}, "content": {"type": "str", "no_log": True}},
    }
}


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


def call(name: str, arguments: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - as AnsibleModule has them
    """Do what the module `name` does; a host without the library asks for it by `library_missing`."""
    module = AnsibleModule({**arguments, **ARGUMENT}, supports_check_mode=True, **options)
    wanted = module.params["library"]
    if wanted is None:
        module.fail_json(msg=f"slipway.release.{name} is called with its library, by its action plugin alone")
    directory = ROOT / wanted["digest"]
    try:
        if wanted["content"]:
            install(ROOT, wanted["digest"], base64.b64decode(wanted["content"]))
        elif not directory.is_dir():
            module.exit_json(changed=False, library_missing=True)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"the library cannot be put into {ROOT}: {error}")
    sys.path.insert(0, str(directory))
    answer = importlib.import_module(f"{PACKAGE}._call_{name}").answer
    importlib.import_module(f"{PACKAGE}._host_module").perform(module, answer)
