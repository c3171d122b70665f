# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a controller of a bundle alone: this library, what it needs of Python, and the release's evidence.

    DIRECTORY             the library as it was committed
    DIRECTORY/.venv       ansible-core and what else a run needs, of the bundle's wheels
    DIRECTORY/evidence    what the gates ask of the release

Again with the next bundle it brings what that one has. What lies below inventory/, evidence and whatever else the
library does not bring itself is the site's own and stays. It asks no index and no network, and makes all or nothing.

It is sent as one program with what it imports, `controller.py`, for a Python that has nothing else.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from ._bundle_manifest import EVIDENCE, LIBRARY, WHEELS, BundleError, Manifest
from ._bundle_reader import Bundle, architecture, opened
from ._errors import CommandError, SlipwayError
from ._process import HostRunner

if TYPE_CHECKING:
    from ._process import Runner

LOCK = "requirements-run.lock"
OLDEST = (3, 12)
INVENTORY = "inventory"
_ENVIRONMENT = ".venv"
_STAMP = ".controller"
_NAME = Path(__file__).stem
_PROGRAM = '''\
#!/usr/bin/env python3
"""Makes a controller of a bundle: python3 -I - NAME.sums ALLOWED_SIGNERS DIRECTORY <controller.py"""
import importlib, pathlib, sys, tempfile

FILES = {
%s}

with tempfile.TemporaryDirectory() as place:
    package = pathlib.Path(place, "slipway")
    package.mkdir()
    for name, text in FILES.items():
        (package / name).write_text(text, "utf-8")
    sys.path.insert(0, place)
    sys.dont_write_bytecode = True
    code = importlib.import_module("slipway.%s").main(sys.argv[1:])
sys.exit(code)
'''


def program(library: Mapping[str, str]) -> str:
    """The program `controller.py`: this module and what it imports, as text.

    :param library: the text of each module of the library, by its name.
    """
    names = [_NAME]
    for name in names:
        if name not in library:
            raise SlipwayError(f"the library that goes into the bundle has no {name}.py committed")
        for item in ast.walk(ast.parse(library[name])):
            if isinstance(item, ast.ImportFrom) and item.level == 1 and item.module and item.module not in names:
                names.append(item.module)
    files = "".join(f"    {f'{name}.py'!r}: {library[name]!r},\n" for name in sorted(names))
    return _PROGRAM % (files, _NAME)


def make(runner: Runner, sums: Path, signers: Path, directory: Path, tell: Callable[[str], None]) -> None:
    """Make a controller, or bring one that was made so up to a bundle; it is whole, or as it was."""
    if sys.version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise SlipwayError(f"Python {_python()} is too old for ansible-core: run this with Python {wanted} or later")
    if directory.exists() and not (directory / _STAMP).is_file():
        raise SlipwayError(f"{directory} is there and no bundle made it: name a directory that is not there")
    with opened(runner, sums, signers) as bundle:
        tell(f"{sums.name}: {bundle.manifest.application} {bundle.manifest.version}, signed and whole")
        _check(bundle.manifest, sums.name)
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as scratch:
            new = Path(scratch) / "new"
            _lay_out(bundle, Path(scratch), new)
            if directory.exists():
                _keep(directory, new)
            _replace(runner, directory, new, Path(scratch))
    tell(f"{directory}: the controller is ready")


def _python() -> str:
    return ".".join(map(str, sys.version_info[:2]))


def _check(manifest: Manifest, file: str) -> None:
    """Refuse a bundle of which no controller can be made here."""
    if manifest.file(LIBRARY) is None:
        raise BundleError(file, f"it brings no {LIBRARY}")
    if manifest.architecture != architecture():
        raise BundleError(file, f"it is for {manifest.architecture}, this machine is {architecture()}")
    tag = f"-cp{sys.version_info[0]}{sys.version_info[1]}-"
    wheels = manifest.below(WHEELS)
    if wheels and not any(tag in wheel.path for wheel in wheels):
        raise BundleError(file, f"it brings no packages for Python {_python()}: name it in bundle_pythons")


def _lay_out(bundle: Bundle, scratch: Path, new: Path) -> None:
    """Unpack what a controller is made of."""
    bundle.unpack(scratch / "library", LIBRARY)
    with tarfile.open(scratch / "library" / LIBRARY) as archive:
        try:
            archive.extractall(new, filter="data")
        except tarfile.TarError as error:
            raise BundleError(LIBRARY, f"it cannot be unpacked: {error}") from error
    bundle.unpack(scratch / WHEELS, f"{WHEELS}/")
    for name in (EVIDENCE, INVENTORY):
        bundle.unpack(scratch / name, f"{name}/")
        if (scratch / name / name).is_dir():
            shutil.copytree(scratch / name / name, new / name, dirs_exist_ok=True)
    (new / _STAMP).write_text(_stamp((new / LOCK).read_bytes()) + "\n")


def _stamp(lock: bytes) -> str:
    """What the environment is made of."""
    return f"{_python()} {hashlib.sha256(lock).hexdigest()}"


def _keep(old: Path, new: Path) -> None:
    """Take over what is the site's own."""
    if (old / INVENTORY).is_dir():
        shutil.rmtree(new / INVENTORY, ignore_errors=True)
        shutil.copytree(old / INVENTORY, new / INVENTORY, symlinks=True)
    if (old / EVIDENCE).is_dir():
        (new / EVIDENCE).mkdir(exist_ok=True)
        _keep_others(old / EVIDENCE, new / EVIDENCE)
    _keep_others(old, new)


def _keep_others(old: Path, new: Path) -> None:
    """Take over what has no counterpart in a directory."""
    for path in old.iterdir():
        if path.name == _ENVIRONMENT or os.path.lexists(new / path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _replace(runner: Runner, directory: Path, new: Path, scratch: Path) -> None:
    """Put the new controller where the old one was, and its environment into it; when that fails, the old one back.

    Programs of an environment name the place that it was made in, so it is made there.
    """
    before = scratch / "before"
    if directory.exists():
        directory.rename(before)
    try:
        new.rename(directory)
        kept = before / _ENVIRONMENT
        if kept.is_dir() and (before / _STAMP).read_bytes() == (directory / _STAMP).read_bytes():
            kept.rename(directory / _ENVIRONMENT)
        else:
            _install(runner, directory, scratch / WHEELS / WHEELS)
    except BaseException:
        if directory.exists():
            directory.rename(scratch / "failed")
        if before.exists():
            before.rename(directory)
        raise


def _install(runner: Runner, directory: Path, wheels: Path) -> None:
    """Make the environment of wheels alone; each is the one that the lock says."""
    installer = next(iter(sorted(wheels.glob("pip-*.whl"))), None) if wheels.is_dir() else None
    if installer is None:
        raise SlipwayError("no packages that fit are here, and the bundle brings none: use a whole one, no delta")
    environment = directory / _ENVIRONMENT
    python = str(environment / "bin" / "python")
    offline = ["--isolated", "--no-input", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    chosen = ["--only-binary=:all:", "--require-hashes", "--find-links", str(wheels), "-r", str(directory / LOCK)]
    try:
        runner.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(environment)], timeout=120)
        runner.run([python, "-I", str(installer / "pip"), *offline, "--no-cache-dir", *chosen], timeout=600)
        runner.run([python, "-I", str(environment / "bin" / "ansible-playbook"), "--version"], timeout=120)
    except CommandError as error:
        raise SlipwayError(f"the packages cannot be installed: {' '.join(error.output.split())[-300:]}") from error


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    top = argparse.ArgumentParser(prog="controller.py", description="Make a controller of a bundle alone.")
    top.add_argument("sums", type=Path, help="the bundle's NAME.sums, with the parts and the signature beside it")
    top.add_argument("signers", type=Path, help="the allowed signers, which do not come with the bundle")
    top.add_argument("directory", type=Path, help="where the controller goes: a new one, or the one made last time")
    given = top.parse_args(arguments)
    sums, signers, directory = Path.cwd() / given.sums, Path.cwd() / given.signers, given.directory.resolve()
    try:
        make(HostRunner(), sums, signers, directory, _say)
    except (SlipwayError, OSError) as error:
        sys.stderr.write(f"controller.py: {error}\n")
        return 1
    load = f"playbooks/load.yml -i airgap -e load_path={sums} -e load_signers={signers}"
    _say(f"cd {directory} && .venv/bin/ansible-playbook {load}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
