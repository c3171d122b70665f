"""The host that the cells use one after another: put back between them, and judged from outside after each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import host as hosts
from lab import swarm, witness
from lab._common import LabError, program
from lab.host import Host
from lab.witness import Witness
from lab.writer import STATE, Writer
from tests.chaos.command import Command, inventory

NAME = "swarm.example.test"
KEPT = "/var/lib/chaos"
# Everything of the application that is no image.
PLACES = f"/var/lib/docker/volumes/swarm_postgres/_data /var/lib/docker/volumes/swarm_redis/_data /opt/swarm {STATE}"
SAVE = f"""
place={KEPT}/$RELEASE; rm -rf "$place"
for directory in {PLACES}; do
  if [ -e "$directory" ]; then mkdir -p "$place$directory"; cp -a "$directory/." "$place$directory/"; fi
done
"""
PUT_BACK = f"""
place={KEPT}/$RELEASE
for directory in {PLACES}; do
  if [ -e "$directory" ]; then find "$directory" -mindepth 1 -delete; fi
  if [ -e "$place$directory" ]; then mkdir -p "$directory"; cp -a "$place$directory/." "$directory/"; fi
done
if ! [ -e "$place{STATE}" ]; then rm -rf {STATE}; fi
"""
# Ends what a cell may have left outside the application, and says whether the containers of RELEASE all run.
CLEAR = f"""
for rule in 'INPUT -p tcp --dport 22 -j DROP' 'OUTPUT -p tcp --sport 22 -j DROP'; do
  while iptables -D $rule 2>/dev/null; do :; done
done
while mountpoint --quiet {STATE}; do umount --lazy {STATE}; done
systemctl start docker
docker container prune --force >/dev/null
web=$(docker ps --filter label=com.docker.compose.service=web --format '{{{{.Names}}}}' | sort | xargs)
# a release that is not adopted yet is known by what Compose made of it, and not by containers that a rollback renewed
if [ "$RELEASE" = 1.0.0 ] && [ "$web" != "swarm-web-1 swarm-web-2" ]; then echo slow; exit; fi
code=$(docker ps --filter label=com.docker.compose.project=swarm --quiet |
  xargs --no-run-if-empty docker inspect --format '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' |
  grep -cx "APP_VERSION=$RELEASE" || true)
well=$(docker ps --filter health=healthy --quiet | wc -l)
every=$(docker ps --all --quiet | wc -l)
[ "$code $well $every" = "3 5 6" ] && echo quick || echo slow
"""
CLEAN = """
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
docker network ls --filter type=custom --quiet | xargs --no-run-if-empty docker network rm >/dev/null
"""
# The proxy comes last: it asks a server that did not answer it only after 10 s again.
START = """
docker start swarm-postgres-1 swarm-redis-1 >/dev/null
docker restart $(docker ps --quiet --filter label=com.docker.compose.service=web) >/dev/null
for _ in $(seq 300); do
  [ "$(docker ps --filter label=com.docker.compose.service=web --filter health=healthy --quiet | wc -l)" = 2 ] && break
  sleep 0.1
done
docker restart swarm-proxy-1 >/dev/null
"""
SETTLED = f"curl --silent --fail --output /dev/null -H 'Host: {NAME}' http://127.0.0.1/login"
SEEDS = r"""
docker exec --interactive swarm-postgres-1 psql -XqAt --username swarm_owner swarm_production <<'SQL'
SELECT 'seeds ' || count(*) || ' ' ||
  md5(string_agg(md5(ROW(id, name, status, created_at, updated_at)::text), '' ORDER BY id))
FROM campaigns WHERE id <= 200;
SQL
"""
# What the witness does not see: whatever else a command may have forgotten on the host.
LOOK_AROUND = rf"""
left() {{ {{ grep -vxE "$1" || true; }} | sed "s/^/left over: $2 /"; }}
docker ps --all --format '{{{{.Names}}}}' | left 'swarm-(proxy|web|worker|postgres|redis)-[0-9]+' container
# two that run, and two that are kept for the way back
docker ps --all --filter label=com.docker.compose.service=web --format '{{{{.Names}}}}' | tail -n +5 | left '' container
docker network ls --format '{{{{.Name}}}}' | left 'bridge|host|none|swarm_default' network
docker volume ls --quiet | left 'swarm_(postgres|redis)' volume
sql() {{ docker exec swarm-postgres-1 psql -XqAt --username swarm_owner "$1" --command "$2"; }}
sql postgres 'SELECT datname FROM pg_database' |
  left 'postgres|template[01]|swarm_production|swarm_production_kept_.*' database
names="SELECT name FROM campaigns WHERE name LIKE 'slipway-%'"
sql swarm_production "$names" | left '' 'test campaign'
docker exec swarm-postgres-1 sh -c 'ls -d /tmp/slipway* 2>/dev/null || true' | left '' 'in the database container'
find {STATE} -name '*.partial' -type f | left '' file
if [ -e {STATE}/backups/.partial ]; then find {STATE}/backups/.partial -mindepth 1 -maxdepth 1 | left '' directory; fi
flock --nonblock {STATE}/lock true || echo 'the lock is held'
echo "ledger $(tr -d '\n' <{STATE}/ledger.json)"
find {STATE}/runs -name '*.json' -exec sh -c 'echo "run $(tr -d "\n" <"$1")"' sh {{}} \;
"""  # noqa: S608 - the database is the lab's own


@dataclass(frozen=True)
class Standing:
    """How the host looks where one release stands whole.

    :param rows: of the tables that users do not write to.
    :param seeds: count and checksum of the campaigns that were there before any user wrote.
    :param others: service and image of what runs none of the application's own code.
    """

    commit: str
    env: str
    schema: str
    rows: dict[str, tuple[int, str]]
    files: dict[str, str]
    seeds: str
    others: frozenset[tuple[str, str]]
    containers: int

    @classmethod
    def of(cls, seen: Witness, seeds: str) -> Standing:
        """Take it from what the witness sees."""
        return cls(
            commit=seen.commit,
            env=seen.env,
            schema=seen.schema,
            rows={name: value for name, value in seen.rows.items() if name != "campaigns"},
            files=seen.files,
            seeds=seeds,
            others=frozenset((item.service, item.image) for item in seen.containers if item.version is None),
            containers=sum(item.running for item in seen.containers),
        )

    def differences(self, other: Standing) -> list[str]:
        """Name what is not the same."""
        names = ("commit", "env", "schema", "files", "seeds", "others", "containers")
        wrong = [f"{name} differs" for name in names if getattr(self, name) != getattr(other, name)]
        tables = sorted(self.rows.keys() | other.rows.keys())
        return wrong + [f"table {name} differs" for name in tables if self.rows.get(name) != other.rows.get(name)]


class Arena:
    """A lab host on which cells are played.

    :param directory: where logs, records and the inventory of this host go.
    """

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.inventory = inventory(host, directory / "inventory")
        self.standings: dict[str, Standing] = {}

    def sh(self, script: str) -> str:
        """Run a script on the host as root."""
        return self.host.sh(script)

    def play(self, verb: str, heard: Callable[[str], None] = lambda _: None, *, by_awx: bool = False) -> Command:
        """Start a playbook."""
        return Command(verb, self.inventory, self.directory / "records", heard, by_awx)

    def writer(self, name: str, duration: float) -> Writer:
        """Return a client that writes to the application."""
        password = yaml.safe_load(self.host.secrets_file.read_text())["vault_operator_password"]
        log = self.directory / f"{name}.writes.jsonl"
        log.unlink(missing_ok=True)
        return Writer(self.host.address, NAME, password, log, duration)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Stop what writes to the volumes, and start it again with what does not live on without it.

        Action Cable's listener does not come back to a Redis that was away, and the proxy goes by what it read before.
        """
        self.sh("docker stop --time 30 swarm-postgres-1 swarm-redis-1 >/dev/null")
        yield
        self.sh(START)

    def settle(self) -> None:
        """Return when the application answers."""
        self.sh(f"for _ in $(seq 600); do {SETTLED} && exit; sleep 0.1; done; exit 1")

    def keep(self, release: str) -> None:
        """Keep the present state, where `release` stands whole, for the cells that begin with it."""
        with self.at_rest():
            self.sh(f"RELEASE={release}\n{SAVE}")
        self.settle()
        self.standings[release] = Standing.of(witness.look(self.sh), self.sh(SEEDS).strip())

    def put_back(self, release: str) -> None:
        """Let the host be as it was when `release` was kept: its files alone where its containers run already."""
        if self.sh(f"RELEASE={release}\n{CLEAR}").split()[-1] == "quick":
            with self.at_rest():
                self.sh(f"RELEASE={release}\n{PUT_BACK}")
        else:
            self.sh(f"RELEASE={release}\n{CLEAN}{PUT_BACK}")
            self.host.sh(f"cd {swarm.DIRECTORY} && docker compose up --detach --wait", user=swarm.OWNER)
        self.settle()

    def wrong(self) -> list[str]:
        """Say what is not as it is where one release stands whole; empty when all is."""
        try:
            seen, seeds = witness.look(self.sh), self.sh(SEEDS).strip()
            around = self.sh(LOOK_AROUND).splitlines()
        except (LabError, RuntimeError, KeyError) as error:
            return [f"the host cannot be looked at: {error}"]
        documents: dict[str, list[dict[str, Any]]] = {"ledger": [], "run": []}
        wrong = []
        for line in around:
            kind, _, rest = line.partition(" ")
            if kind in documents:
                documents[kind].append(json.loads(rest))
            else:
                wrong.append(line)
        ledger = documents["ledger"][0]
        wrong += [f"the ledger has an open {name}" for name in ("run", "candidate") if ledger[name]]
        wrong += [line for run in documents["run"] for line in false_alarms(run)]
        expected = self.standings.get(seen.release or "")
        if expected is None:
            return [*wrong, f"no whole release runs: {seen.release}"]
        if ledger["current"] != seen.release:
            wrong.append(f"the ledger says {ledger['current']}, {seen.release} runs")
        return wrong + expected.differences(Standing.of(seen, seeds))

    def restart(self) -> None:
        """Take the host's power and give it back."""
        for verb in ("kill", "start"):
            subprocess.run([program("docker") or "docker", verb, self.host.container], check=True, capture_output=True)
        hosts.wait(self.host)


def false_alarms(run: dict[str, Any]) -> list[str]:
    """Name the verdicts of a run that say that data was lost; a good release loses none."""
    criteria = (run.get("verdict") or {}).get("criteria", [])
    return [f"false R4 in run {run['id']}" for item in criteria if item["id"] == "R4" and item["verdict"] == "rollback"]
