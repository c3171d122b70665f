"""What a host looks like from outside: the release that runs, its schema, every row, every file, what was left over.

It shares no code with the engine, so that the engine cannot vouch for itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

# One script, so that all is seen at one moment. The format of `container` is what _container reads.
LOOK = r"""
set -euo pipefail
cd /opt/swarm
git() { command git -c safe.directory=/opt/swarm "$@"; }
of() { docker ps --no-trunc --filter label=com.docker.compose.project=swarm "$@"; }
label() { printf '{{json (index .Config.Labels "com.docker.compose.%s")}}' "$1"; }
format="container {{json .Name}} {{json .Image}} {{json .State.StartedAt}} $(label service) $(label oneoff)"
format="$format {{json .State.Running}} {{json .Config.Env}}"
postgres=$(of --quiet --filter label=com.docker.compose.service=postgres)
database() { docker exec --interactive "$postgres" "$@"; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

database pg_dump --schema-only --username swarm_owner swarm_production |
  grep -vE '^(--|SET |SELECT pg_catalog|\\(un)?restrict|$)' | sha256sum | sed 's/^/schema /' >"$work/schema" &
schema=$!
database psql -XqAt -v ON_ERROR_STOP=1 --field-separator ' ' -U swarm_owner swarm_production >"$work/rows" <<'SQL' &
SELECT format('SELECT ''rows'', %L, count(*), md5(coalesce(string_agg(md5(t::text), '''' ORDER BY md5(t::text)), ''''))'
              ' FROM %I.%I t', tablename, schemaname, tablename)
FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename \gexec
SQL
rows=$!
echo "commit $(git rev-parse HEAD)"
echo "dirty $(git status --porcelain --untracked-files=no | wc -l)"
echo "env $(sha256sum <.env | cut -c1-64)"
of --all --quiet | xargs --no-run-if-empty docker inspect --format "$format"
(cd storage && find . -type f -printf '%P\0' | sort --zero-terminated | xargs --null --no-run-if-empty sha256sum --) |
  sed -E 's/^([0-9a-f]{64})  /file \1 /'
wait "$schema"; wait "$rows"; cat "$work/schema" "$work/rows"
"""


@dataclass(frozen=True)
class Container:
    """A container of the application, running or not."""

    name: str
    image: str
    started: str
    service: str
    oneoff: bool
    running: bool
    version: str | None


@dataclass(frozen=True)
class Witness:
    """One look at a host.

    :param schema: SHA-256 of the normalised schema, without sequence positions.
    :param rows: for each table the number of its rows and an order-independent checksum of them.
    :param files: SHA-256 of every uploaded file.
    :param env: SHA-256 of the env file.
    """

    commit: str
    dirty: int
    env: str
    schema: str
    rows: dict[str, tuple[int, str]]
    files: dict[str, str]
    containers: tuple[Container, ...]

    @property
    def release(self) -> str | None:
        """The release that all web containers run; None when they differ or none runs."""
        versions = {item.version for item in self.containers if item.service == "web" and item.running}
        return versions.pop() if len(versions) == 1 else None

    @property
    def images(self) -> dict[str, str]:
        """The image of each running container."""
        return {item.name: item.image for item in self.containers if item.running}

    @property
    def started(self) -> dict[str, str]:
        """When each running container started."""
        return {item.name: item.started for item in self.containers if item.running}

    @property
    def leftovers(self) -> list[str]:
        """One-off containers that somebody forgot."""
        return [item.name for item in self.containers if item.oneoff]


def look(run: Callable[[str], str]) -> Witness:
    """Look at a host.

    :param run: runs a script on it as root and returns what it prints; raises when it fails.
    """
    single: dict[str, str] = {}
    rows: dict[str, tuple[int, str]] = {}
    files: dict[str, str] = {}
    containers = []
    for line in run(LOOK).splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "rows":
            table, count, checksum = rest.split(" ")
            rows[table] = (int(count), checksum)
        elif kind == "file":
            checksum, _, name = rest.partition(" ")
            files[name] = checksum
        elif kind == "container":
            containers.append(_container(rest))
        else:
            single[kind] = rest.split(" ")[0]
    if not rows or not files:
        raise RuntimeError("the witness saw no row or no file: what it compares would always be the same")
    return Witness(
        commit=single["commit"],
        dirty=int(single["dirty"]),
        env=single["env"],
        schema=single["schema"],
        rows=rows,
        files=files,
        containers=tuple(sorted(containers, key=lambda item: item.name)),
    )


def _container(text: str) -> Container:
    decoder, values, position = json.JSONDecoder(), [], 0
    while position < len(text):
        value, end = decoder.raw_decode(text, position)
        values.append(value)
        position = end + 1
    name, image, started, service, oneoff, running, environment = values
    variables = dict(item.partition("=")[::2] for item in environment or [])
    return Container(name, image, started, service or "", oneoff == "True", running, variables.get("APP_VERSION"))
