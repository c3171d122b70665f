"""What is left of each bad release of the sample, after a deploy by `deploy.yml` and after one by Capistrano.

Both deploy 1.1.0, which is good, and then each bad release on its own. The peer (bench/capistrano) builds, migrates,
starts, waits until every container is healthy and asks the application once. What it lets in is taken back by its own
`deploy:rollback`, as somebody does who notices later. What the host is like is seen from outside (lab/witness.py),
before and after: no host is "as before" because somebody says so.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench._arena import LONGEST, NAME, Arena, stop_when_told
from bench._results import OURS, Line
from lab import engine, swarm, witness
from lab import host as hosts
from lab.__main__ import up
from lab._common import ROOT, LabError, program, run, told
from lab.host import KEY, KNOWN_HOSTS, Host

BASE, GOOD = "1.0.0", "1.1.0"
BAD = {
    "1.2.0": "campaigns cannot be created",
    "1.3.0": "the second of two migrations raises",
    "1.4.0": "a page takes 8 seconds",
    "1.5.0": "a migration deletes a campaign",
    "1.6.0": "a migration cuts names off",
    "1.7.0": "a migration takes each task's agent away",
    "1.8.0": "a column with data is dropped for good",
    "1.9.0": "Redis and the queues are open to anybody",
}
# What may be wrong when all was done to take a bad release back; `let in`: its deploy ended as a success.
WRONG = ("let in", "still running", "schema", "data")
PEER = "site8"
PATIENCE = 3 * 3600
PACKAGES = ("capistrano", "ruby-ed25519", "ruby-bcrypt-pbkdf")
# Beside the checkout, which stays as it is: the same env file, uploads and upstreams.
SHARED = f"""
install -d -o {swarm.OWNER} -g {swarm.OWNER} /srv/swarm /srv/swarm/shared /srv/swarm/shared/nginx
for name in .env storage nginx/upstreams; do
  ln -s {swarm.DIRECTORY}/$name /srv/swarm/shared/$name
done
"""
# A checksum of every column's values, row by row: a new column changes none of them.
VALUES = r"""
docker exec --interactive $(docker ps --quiet --filter label=com.docker.compose.service=postgres) \
  psql -XqAt -v ON_ERROR_STOP=1 -U swarm_owner swarm_production <<'SQL'
SELECT format(
  $$SELECT %L, md5(coalesce(string_agg(concat(id, '=', coalesce(%I::text, 'NULL')), ' ' ORDER BY id), '')) FROM %I$$,
  concat(table_name, '.', column_name), column_name, table_name)
FROM information_schema.columns c
WHERE table_schema = 'public' AND EXISTS (
  SELECT FROM information_schema.columns
  WHERE table_schema = 'public' AND table_name = c.table_name AND column_name = 'id')
ORDER BY table_name, column_name \gexec
SQL
"""


@dataclass(frozen=True)
class Seen:
    """A host as it is from outside.

    :param values: a checksum of the values in each column, by table and column.
    """

    release: str | None
    schema: str
    values: Mapping[str, str]
    files: Mapping[str, str]


def look(host: Host) -> Seen:
    """Look at a host."""
    seen = witness.look(host.sh)
    values = dict(line.split("|") for line in host.sh(VALUES).splitlines())
    return Seen(seen.release, seen.schema, values, seen.files)


def left(before: Seen, after: Seen, *, let_in: bool) -> set[str]:
    """Which of WRONG a bad release left behind, when all was done to take it back."""
    values = {name: after.values.get(name) for name in before.values}
    is_so = (
        let_in,
        after.release != before.release,
        after.schema != before.schema,
        values != before.values or after.files != before.files,
    )
    return set(itertools.compress(WRONG, is_so))


def ready(host: Host, deploy: Callable[[str], bool], prepare: str = "") -> Seen:
    """Start a host, prepare it by a script, let the good release in, and look at it."""
    up(host, BASE, swarm.PROXIES[0], empty=False)
    host.sh(prepare)
    if not deploy(GOOD) or (seen := look(host)).release != GOOD:
        sys.exit(f"bad_releases: {GOOD}, which is good, did not come in on {host.name}")
    return seen


def by_slipway(host: Host, version: str) -> bool:
    """Deploy a release; whether it stands."""
    done = Arena(host).ansible_playbook("deploy.yml", release_version=version, rehearse_policy="required")
    return done.returncode == 0


def by_capistrano(host: Host, version: str, task: str = "deploy") -> bool:
    """Deploy a release, or do something else of Capistrano's; whether it ended well."""
    environment = {"ADDRESS": host.address, "KEY": str(KEY), "KNOWN_HOSTS": str(KNOWN_HOSTS), "RELEASE": version}
    done = subprocess.run(
        [program("cap") or "cap", "production", task],
        cwd=ROOT / "bench" / "capistrano",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    return done.returncode == 0


def of_ours(host: Host) -> list[set[str]]:
    """What each bad release left behind by a deploy of ours."""
    found: list[set[str]] = []
    before = None
    for version in BAD:
        before = before or ready(host, lambda good: by_slipway(host, good))
        let_in = by_slipway(host, version)
        found.append(left(before, look(host), let_in=let_in))
        tell("slipway", version, found[-1])
        if found[-1]:
            # the next one is not to pay for it
            before = None
    return found


def of_peer(host: Host) -> list[set[str]]:
    """What each bad release left behind by Capistrano, when whoever noticed has taken it back."""
    found = []
    for version in BAD:
        before = ready(host, lambda good: by_capistrano(host, good), SHARED)
        let_in = by_capistrano(host, version)
        if look(host).release != before.release:
            by_capistrano(host, version, "deploy:rollback")
        found.append(left(before, look(host), let_in=let_in))
        tell("capistrano", version, found[-1])
    return found


def tell(tool: str, version: str, found: set[str]) -> None:
    """Say what one release left."""
    wrong = ", ".join(what for what in WRONG if what in found)
    print(f"{tool}: {version}, {BAD[version]}: {wrong or 'taken back, all as before'}", flush=True)


def install() -> None:
    """Install the peer where it is not."""
    if program("cap") is not None:
        return
    try:
        with told("Capistrano installed"):
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "update"], env=quiet)
            run(["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES], env=quiet)
    except LabError as error:
        sys.exit(f"bad_releases: the peer is not here: sudo apt-get install {' '.join(PACKAGES)} ({error})")


def main() -> int:
    """Run the benchmark."""
    stop_when_told(PATIENCE)
    engine.ensure()
    install()
    mine, other = Host(NAME), Host(PEER)
    try:
        ours, peer = of_ours(mine), of_peer(other)
    finally:
        hosts.remove(mine)
        hosts.remove(other)
    good = True
    for kind in WRONG:
        figures = sum(kind in found for found in ours), sum(kind in found for found in peer)
        good &= line(f"bad releases {kind}", figures)
    return 0 if line("bad releases", (sum(map(bool, ours)), sum(map(bool, peer)))) and good else 1


def line(name: str, figures: tuple[int, int]) -> bool:
    """Print one result, of which none may be ours; returns whether none is."""
    return Line.of(name, f"of {len(BAD)}", figures, bar=0, ok=figures[0] == 0, bar_of=OURS).tell()


if __name__ == "__main__":
    sys.exit(main())
