"""What every part of the lab uses: places, labels, processes, hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "lab"
CACHE = BUILD / "cache"
LABEL = "slipway-lab"


class LabError(Exception):
    """Something stands in the way; the message is one line that says what to do."""


def program(name: str) -> str | None:
    """Return where a program is. Debian's own comes first: other copies may be clients of another engine's age."""
    return shutil.which(name, path=f"/usr/bin:/usr/sbin:/sbin:{os.environ.get('PATH', '')}")


def run(
    argv: Iterable[str],
    *,
    stdin: IO[bytes] | bytes | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed; fail with the last line of what it complained about."""
    name, *arguments = argv
    command = [program(name) or name, *arguments]
    done = subprocess.run(
        command,
        input=stdin if isinstance(stdin, bytes) else None,
        stdin=None if isinstance(stdin, bytes) else (stdin or subprocess.DEVNULL),
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else {**os.environ, **env},
        check=False,
    )
    output: str = (done.stdout or b"").decode(errors="replace")
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip() or output.strip()).splitlines()
        BUILD.mkdir(parents=True, exist_ok=True)
        (BUILD / "failed.log").write_bytes((done.stdout or b"") + done.stderr)
        shown = textwrap.shorten(" ".join((name, *arguments)), 160)
        raise LabError(f"{shown} ended with {done.returncode}: {said[-1] if said else 'no message'}")
    return output


def digest(*parts: str | Path) -> str:
    """Return a hash of texts, files and directories (names, modes and contents), which names what is made of them."""
    total = hashlib.sha256()
    for part in parts:
        files = sorted(within(part)) if isinstance(part, Path) and part.is_dir() else [part]
        for item in files:
            if isinstance(item, Path):
                name = item.relative_to(part).as_posix() if isinstance(part, Path) and part.is_dir() else item.name
                content, mode = item.read_bytes(), item.stat().st_mode & 0o100
            else:
                name, content, mode = "", item.encode(), 0
            total.update(f"{name}\0{mode}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:16]


def within(directory: Path) -> Iterator[Path]:
    """Walk over the files of a directory that somebody wrote."""
    for path in directory.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what was done and how long it took."""
    start = time.monotonic()
    yield
    print(f"lab: {what} ({time.monotonic() - start:.1f} s)", flush=True)
