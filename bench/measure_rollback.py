"""Seconds from the verdict to the release before answering, on each road back, beside a script by hand.

On the road `code` both leave the schema, on which the release before was rehearsed. On the others both stop the new
code, save the database and bring it back (by the new image's two migrations, or by loading the backup beside it and
swapping the two). Both put the old source and env file back and start the old containers. Ours is the engine's plan,
with its journal and checks. A visitor who is logged in asks for a page all the time: what counts is when the release
before answers, after the last answer that was an error or the new release's. `rollback.yml` adds its gates before, and
the smoke test afterwards.
"""

from __future__ import annotations

import sys

from bench._arena import Arena, arena
from bench._pairs import compare

BAR = 1.3
# Says how long `work` takes until the release that comes back answers; SystemExit when it never does.
WATCH = """
import subprocess, threading
from slipway._http import Client, HttpError
from slipway._session import Session

def answers_after(work):
    visitor = Session(Client(site.profile.base_url, site.profile.host_header), site.profile).visitor()
    ended, seen, begun = threading.Event(), [], time.monotonic()

    def watch():
        while time.monotonic() < begun + 240:
            try:
                answer = visitor.get("/campaigns", 2)
                good = answer.status == 200 and b"Swarm 1.0.0" in answer.body
            except HttpError:
                good = False
            seen.append((time.monotonic() - begun, good))
            if good and ended.is_set():
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    bad = [at for at, good in seen if not good]
    if not bad or not seen[-1][1]:
        sys.exit("the release before does not answer" if bad else "the release before never went")
    print(next(at for at, good in seen if good and at > bad[-1]))
"""
OURS = """
from slipway._engine import carry_out
from slipway._plan_rollback import rollback

def work():
    with site.ledger.locked():
        carry_out(site, rollback(site, "bench-rollback", 600, schema={schema!r}))

answers_after(work)
"""
PEER = """
script = {script!r}
command = ["bash", "-euo", "pipefail", "-c", script]
answers_after(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
"""
HERE = """
cd /opt/swarm
git() { command git -c safe.directory='*' -c advice.detachedHead=false "$@"; }
container=$(docker ps -qf label=com.docker.compose.service=postgres)
sql() { docker exec "$container" psql -v ON_ERROR_STOP=1 -U swarm_owner postgres -c "$1"; }
"""
SAVE = """
docker compose stop web worker
docker exec "$container" pg_dump -U swarm_owner -Fd -j2 --compress=zstd:1 -f /tmp/peer swarm_production
docker cp "$container":/tmp/peer /root/peer
sha256sum /root/peer/*
"""
DOWN = """
docker compose run --rm -T web bin/rails db:rollback STEP=2
"""
RESTORE = """
backup=$(ls -d /var/lib/slipway/swarm/backups/*-deploy*)
sha256sum "$backup"/database/*
docker cp "$backup/database" "$container":/tmp/restored
sql 'CREATE DATABASE restored TEMPLATE template0'
docker exec "$container" pg_restore -U swarm_owner -j2 --exit-on-error -d restored /tmp/restored
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'swarm_production'"
sql 'ALTER DATABASE swarm_production RENAME TO swarm_production_kept_peer'
sql 'ALTER DATABASE restored RENAME TO swarm_production'
"""
# nginx looks the addresses of its servers up when it reads their names; one that does not answer it forgets for 10 s.
ANSWER = """
{
  echo 'upstream web {'
  docker compose ps --format '  server {{.Name}}:3000;' web
  echo '}'
} >nginx/upstreams/web.conf
docker compose exec -T proxy nginx -s reload
"""
END = f"""
git checkout --quiet 1.0.0
sed -i 's/^APP_VERSION=.*/APP_VERSION=1.0.0/' .env
docker compose up -d --wait
{ANSWER}
"""
# Back to where both begin: 1.1.0 stands, and nothing is left of the rollback before.
AGAIN = """
git checkout --quiet 1.1.0
sed -i 's/^APP_VERSION=.*/APP_VERSION=1.1.0/' .env
docker compose run --rm -T web bin/rails db:migrate >/dev/null 2>&1
docker compose up -d --wait >/dev/null 2>&1
"""
CLEAN = """
for kept in $(sql "COPY (SELECT datname FROM pg_database WHERE datname LIKE '%\\_kept\\_%') TO STDOUT"); do
  sql "DROP DATABASE $kept"
done
docker exec "$container" rm -rf /tmp/peer /tmp/restored
rm -rf /root/peer /var/lib/slipway/swarm/backups/bench-rollback
cp -a /root/ledger.json /var/lib/slipway/swarm/ledger.json
"""
FORWARD = HERE + AGAIN + ANSWER + CLEAN
# What the rehearsal finds where taking the migrations down is no way back.
NO_WAY_DOWN = """
from slipway._certificate import Certificate
release, before = site.ledger.known_release("1.1.0"), site.ledger.before("1.1.0")
applied = [version for version in site.database.migrations() if version not in before.migrations]
site.ledger.save_certificate(
    Certificate("1.1.0", release.commit, before.backup, site.ledger.now(), applied, down_wrong=["not measured"])
)
"""


def road(made: Arena, name: str, script: str) -> int:
    """Measure one road beside a script by hand; returns the exit code."""
    mine = WATCH + OURS.format(schema="keep" if name == "code" else "back")

    def measured(body: str) -> float:
        took = float(made.engine(body).split()[-1])
        made.sh(FORWARD)
        return took

    by_hand = WATCH + PEER.format(script=script + END)
    return compare(f"rollback by {name}", lambda: measured(mine), lambda: measured(by_hand), BAR)


def main() -> int:
    """Run the benchmark."""
    with arena() as made:
        made.play("deploy.yml", rehearse_policy="required")
        made.sh("cp -a /var/lib/slipway/swarm/ledger.json /root/ledger.json")
        code = road(made, "code", HERE)
        down = road(made, "down", HERE + SAVE + DOWN)
        made.engine(NO_WAY_DOWN)
        return max(code, down, road(made, "restore", HERE + SAVE + RESTORE))


if __name__ == "__main__":
    sys.exit(main())
