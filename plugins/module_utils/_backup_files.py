# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup holds besides the database: uploads, volumes, configuration, and Redis for salvage."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._errors import SlipwayError
from ._probe_redis import RedisServer
from ._stored import StoredFile, finish, make_directory, piped, store

if TYPE_CHECKING:
    from ._site import Site

REDIS_TIMEOUT = 600
_CHANGED = 1  # GNU tar: a file changed or went away while it was read
# User and password come on the input, for everybody may read a command line. Redis writes its own file, which is read;
# it is asked by `redis-cli --rdb`, before whose answer it waits 5 s, only where the former is not allowed.
_SAVE_REDIS = """
IFS= read -r user; IFS= read -r password
if [ -n "$password" ]; then export REDISCLI_AUTH="$password"; fi
cli() { redis-cli ${user:+--user "$user"} "$@"; }
persistence() { cli INFO persistence | tr -d '\\r' | sed -n "s/^$1://p"; }
saved() { while [ "$(persistence rdb_bgsave_in_progress)" = 1 ]; do sleep 0.05; done; }
saved
if cli BGSAVE | grep -q started && saved && [ "$(persistence rdb_last_bgsave_status)" = ok ]; then
  file="$(cli CONFIG GET dir | tail -n 1)/$(cli CONFIG GET dbfilename | tail -n 1)"
  if [ -f "$file" ]; then exec cat "$file"; fi
fi
exec redis-cli ${user:+--user "$user"} --rdb -
"""


def archive_name(kind: str, name: str) -> str:
    """Where a directory of uploads, or a volume, lies inside a backup."""
    return f"{kind}/{quote(name, safe='')}.tar"


def volume_directory(site: Site, key: str) -> Path:
    """Where a volume of the Compose files lies on the host."""
    volumes = site.compose.config.get("volumes") or {}
    if key not in volumes:
        raise SlipwayError(
            f"{', '.join(site.profile.compose_files)} in {site.directory} has no volume {key}: mend application.volumes"
        )
    name = volumes[key]["name"]
    done = site.runner.run(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name], check=False)
    if done.returncode != 0:
        raise SlipwayError(f"Docker has no volume {name}: mend application.volumes")
    return Path(done.stdout.strip())


def sources(site: Site) -> dict[tuple[str, str], Path]:
    """The directories to copy, by kind (uploads or volumes) and name."""
    found = {("uploads", name): site.directory / name for name in site.profile.uploads}
    found.update({("volumes", key): volume_directory(site, key) for key in site.profile.volumes})
    for (kind, name), path in found.items():
        if not path.is_dir():
            raise SlipwayError(f"{path} is no directory: mend {name} in application.{kind}")
    return found


def size_of(directory: Path) -> int:
    """The size in bytes of the files below a directory together."""
    size = 0
    for place, _directories, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(f"{place}/{name}").st_size
    return size


def copy_directory(site: Site, source: Path, target: Path) -> tuple[StoredFile, list[str]]:
    """Write a directory as one tar; returns it, and what changed while it was read."""
    argv = ["tar", "--create", "--numeric-owner", "--directory", str(source), "--file", "-", "."]
    with tempfile.TemporaryFile() as errors:
        process = site.runner.stream(argv, errors)
        piped(process.stdin).close()
        file = store(piped(process.stdout), target)
        told = finish(process, errors, argv, good=(0, _CHANGED))
    return file, [line for line in told.splitlines() if line]


def save_directories(site: Site, backup: Path) -> tuple[dict[str, StoredFile], dict[str, Any]]:
    """Copy uploads and volumes; returns the files by name, and what changed while each was read."""
    files: dict[str, StoredFile] = {}
    told: dict[str, Any] = {"uploads": {}, "volumes": {}}
    for (kind, name), source in sources(site).items():
        file = archive_name(kind, name)
        make_directory((backup / file).parent)
        files[file], told[kind][name] = copy_directory(site, source, backup / file)
    return files, told


def save_configuration(site: Site, backup: Path) -> dict[str, StoredFile]:
    """Copy the env file and the Compose files."""
    files: dict[str, StoredFile] = {}
    for name in (site.profile.env_file, *site.profile.compose_files):
        source, target = site.directory / name, backup / "configuration" / name
        if source.is_file():
            make_directory(target.parent)
            with source.open("rb") as stream:
                files[f"configuration/{name}"] = store(stream, target)
    return files


def save_redis(site: Site, backup: Path) -> tuple[dict[str, StoredFile], str | None]:
    """Save Redis for salvage; returns its file, or why there is none. It must not keep a database from being saved."""
    service = site.profile.services.cache
    if service is None:
        return {}, "the application has no cache service"
    target = backup / "redis.rdb"
    try:
        server = RedisServer.find(site.runner, site.containers(), service, 0)
        user, password = ("", "", *server.credentials)[-2:]
        argv = ["docker", "exec", "--interactive", server.container, "sh", "-c", _SAVE_REDIS]
        with tempfile.TemporaryFile() as errors:
            process = site.runner.stream(argv, errors)
            watch = threading.Timer(REDIS_TIMEOUT, process.kill)
            watch.start()
            try:
                # one that stops reading says why by its exit code
                with suppress(BrokenPipeError), piped(process.stdin) as stream:
                    stream.write(f"{user}\n{password}\n".encode())
                file = store(piped(process.stdout), target)
                finish(process, errors, ["redis-cli"])
            finally:
                watch.cancel()
    except SlipwayError as error:
        target.unlink(missing_ok=True)
        return {}, str(error)
    return {"redis.rdb": file}, None
