"""Seconds that a release without a migration takes by `deploy.yml`, and by a shell script over one SSH connection.

The script does what nobody should leave out: it dumps the database, builds, starts the new containers beside the old,
waits until they are healthy, lets nginx reload, waits for requests under way, stops the old containers, warms the new,
and tries four pages. It holds no lock, writes nothing down, compares nothing, and could not go back. Printed beside it:
the same script when it restores its dump and counts the rows, as each deploy of ours does before the switch, and the
bare steps of most deploys (fetch, build, migrate, `up -d`, health).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from bench._arena import NAME, Arena, stop_when_told
from bench._pairs import PAIRS, compare
from lab import evidence, swarm
from lab import host as hosts
from lab._common import ROOT
from lab.host import KEY, KNOWN_HOSTS, Host

BAR = 1.3
MOST_CALLS, MOST_BOOTS = 25, 2
BASE = "1.1.0"
PATIENCE = 2400  # seconds
PEER = "site8"
PUBLISH = f"""
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
git() {{{{ command git -c user.name=Bench -c user.email=bench@example.test "$@"; }}}}
git clone --quiet --branch {BASE} -c advice.detachedHead=false {swarm.REPOSITORY} "$work/swarm"
cd "$work/swarm"
for number in $(seq {{count}}); do
  {evidence.PAPERS.format(version="1.9.$number")}
  git add --all && git commit --quiet --message "Release 1.9.$number" && git tag "1.9.$number"
done
git push --quiet origin --tags
"""
BEGIN = f"""
set -euo pipefail
version={{version}}
cd {swarm.DIRECTORY}
healthy() {{{{
  until [ -z "$(docker inspect --format '{{{{{{{{.State.Health.Status}}}}}}}}' "$@" | grep -v '^healthy$')" ]; do
    sleep 0.2
  done
}}}}
git fetch --quiet --tags
git -c advice.detachedHead=false checkout --quiet "$version"
sed -i "s/^APP_VERSION=.*/APP_VERSION=$version/" .env
"""
DUMP = r"""
database=$(docker compose ps --quiet postgres)
docker exec "$database" pg_dump --username swarm_owner --format=directory --jobs=2 --compress=zstd:1 \
  --file=/tmp/dump swarm_production
rm -rf ~/dump && docker cp --quiet "$database":/tmp/dump ~/dump && docker exec "$database" rm -rf /tmp/dump
(cd ~/dump && sha256sum -- * >~/dump.sha256)
"""
# The dump is restored into a PostgreSQL of its own, and has as many rows of each table.
PROOF = r"""
image=$(docker inspect --format '{{{{.Image}}}}' "$database")
docker run --detach --name proof --env POSTGRES_USER=swarm_owner --env POSTGRES_DB=swarm_production \
  --env POSTGRES_PASSWORD=proof "$image" postgres -c fsync=off
docker cp --quiet ~/dump proof:/tmp/dump
for turn in $(seq 150); do
  docker exec --env PGPASSWORD=proof proof psql --host 127.0.0.1 --username swarm_owner --command '' \
    swarm_production && break || sleep 0.2
done
docker exec proof pg_restore --username swarm_owner --dbname swarm_production --jobs=2 --exit-on-error /tmp/dump
rows() {{
  docker exec "$1" psql --username swarm_owner --tuples-only --no-align swarm_production --command \
    "SELECT relname, query_to_xml(format('SELECT count(*) FROM %I', relname), false, true, '') FROM pg_class
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
}}
[ "$(rows "$database")" = "$(rows proof)" ]
docker rm --force --volumes proof
"""
# Each page is asked for as the smoke test asks: logged in, and by what it says.
SWITCH = r"""
docker compose build --quiet
old=$(docker compose ps --quiet web)
docker compose up --detach --no-deps --no-build --no-recreate --scale web=$((2 * $(wc -w <<<"$old"))) web
new=$(docker compose ps --quiet web | grep -vF "$old")
healthy $new
for container in $new; do
  address=$(docker inspect --format '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' "$container")
  curl --silent --output /dev/null --header 'Host: {name}' "http://$address:3000/login"
done
{{
  echo 'upstream web {{'
  docker inspect --format '  server {{{{slice .Name 1}}}}:3000;' $new
  echo '}}'
}} >nginx/upstreams/web.conf
proxy=$(docker compose ps --quiet proxy)
docker exec "$proxy" nginx -s reload
until ! docker top "$proxy" -eo pid,args | grep -q 'worker process is shutting down'; do sleep 0.2; done
docker stop $old
docker rm $old
docker compose up --detach --no-deps --no-build worker
OPERATOR_PASSWORD=$(sed -n 's/^OPERATOR_PASSWORD=//p' .env)
jar=$(mktemp)
page() {{ curl --fail --silent --cookie "$jar" --cookie-jar "$jar" --header 'Host: {name}' "$@"; }}
token=$(page http://127.0.0.1/login | grep -o 'name="authenticity_token" value="[^"]*"' | sed -n 1p | cut -d'"' -f4)
page --output /dev/null --data-urlencode "authenticity_token=$token" \
  --data-urlencode "session[email]=operator@example.test" \
  --data-urlencode "session[password]=$OPERATOR_PASSWORD" http://127.0.0.1/login
page http://127.0.0.1/agents | grep Agents >/dev/null
page http://127.0.0.1/campaigns | grep Campaigns >/dev/null
page http://127.0.0.1/campaigns/1 | grep Progress >/dev/null
page http://127.0.0.1/system_health | grep Health >/dev/null
"""
BY_HAND = BEGIN + DUMP + SWITCH
PROVEN = BEGIN + DUMP + PROOF + SWITCH
BARE = (
    BEGIN
    + """
docker compose build --quiet
docker compose run --rm --no-TTY web bin/rails db:migrate
docker compose up --detach
healthy $(docker compose ps --quiet web)
"""
)


class Versions:
    """Hands out the releases of one host, one after another."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self) -> str:
        """The next one."""
        self._number += 1
        return f"1.9.{self._number}"


def standing(name: str, count: int) -> Host:
    """Start a host with the base release on it, and `count` others to come."""
    subprocess.run([sys.executable, "-m", "lab", "up", name, "--release", BASE], cwd=ROOT, check=True)
    host = Host(name)
    host.sh(PUBLISH.format(count=count), user=swarm.OWNER)
    evidence.write(host)
    return host


def over_ssh(host: Host, script: str) -> float:
    """Run a script over one SSH connection as the application's owner; returns its seconds."""
    options = ["-i", str(KEY), "-o", f"UserKnownHostsFile={KNOWN_HOSTS}", "-o", "StrictHostKeyChecking=yes"]
    begun = time.monotonic()
    done = subprocess.run(
        ["ssh", *options, f"{swarm.OWNER}@{host.address}", "bash", "-s"],
        input=script,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the script by hand failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - begun


def main() -> int:
    """Run the benchmark."""
    stop_when_told(PATIENCE)
    mine, other = Host(NAME), Host(PEER)
    try:
        made = Arena(standing(NAME, PAIRS))
        standing(PEER, 3 * PAIRS)
        next_of_mine, next_of_other = Versions(), Versions()
        records = []

        def ours() -> float:
            # the script looks once and does not watch: so one look, not a while of them
            took = made.play("deploy.yml", release_version=next_of_mine(), rehearse_policy="required", monitor_looks=1)
            record = json.loads((ROOT / "build/records/latest.json").read_text())
            records.append(record["hosts"][NAME])
            return took

        def by_hand(script: str = BY_HAND) -> float:
            return over_ssh(other, script.format(version=next_of_other(), name="swarm.example.test"))

        def holds() -> bool:
            for what, script in (("the same by hand, and the dump proven", PROVEN), ("bare steps by hand", BARE)):
                print(f"{what}: {statistics.median(by_hand(script) for _ in range(PAIRS)):.1f} s")
            calls, boots = (max(item[key] for item in records) for key in ("remote_calls", "rails_boots"))
            print(f"remote calls {calls} (at most {MOST_CALLS}), Rails boots {boots} (at most {MOST_BOOTS})")
            return bool(calls <= MOST_CALLS and boots <= MOST_BOOTS)

        return compare("deploy_overhead", ours, by_hand, BAR, holds=holds)
    finally:
        hosts.remove(mine)
        hosts.remove(other)


if __name__ == "__main__":
    sys.exit(main())
