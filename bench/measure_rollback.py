"""Seconds from the verdict to the release before answering, by taking the migrations down, beside a script by hand.

Both stop the new code, save the database, take two migrations down by the new image, put the old source and env file
back, start the old containers and wait until a page answers. Ours is the engine's plan, with its journal and checks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bench._arena import Arena, arena
from bench._pairs import compare
from lab._common import ROOT

BAR = 1.3
ANSWERS = """
until [ "$(curl -so /dev/null -w '%{http_code}' -H 'Host: swarm.example.test' http://127.0.0.1/up)" = 200 ]; do
  sleep 0.05
done
"""
FORWARD = """
cd /opt/swarm
git() { command git -c safe.directory='*' -c advice.detachedHead=false "$@"; }
git checkout --quiet 1.1.0
sed -i 's/^APP_VERSION=.*/APP_VERSION=1.1.0/' .env
docker compose run --rm -T web bin/rails db:migrate >/dev/null 2>&1
docker compose up -d --wait >/dev/null 2>&1
"""
OURS = """
import subprocess
from slipway._engine import carry_out
from slipway._plan_rollback import rollback
begun = time.monotonic()
with site.ledger.locked():
    carry_out(site, rollback(site, "bench-rollback", 600))
subprocess.run(["bash", "-c", ANSWERS], check=True)
print(time.monotonic() - begun)
""".replace("ANSWERS", repr(ANSWERS))
PEER = f"""
cd /opt/swarm
git() {{ command git -c safe.directory='*' -c advice.detachedHead=false "$@"; }}
begun=$(date +%s.%N)
docker compose stop web worker >/dev/null 2>&1
container=$(docker ps -qf label=com.docker.compose.service=postgres)
docker exec "$container" pg_dump -U swarm_owner -Fd -j2 --compress=zstd:1 -f /tmp/peer swarm_production
docker compose run --rm -T web bin/rails db:rollback STEP=2 >/dev/null 2>&1
git checkout --quiet 1.0.0
sed -i 's/^APP_VERSION=.*/APP_VERSION=1.0.0/' .env
docker compose up -d --wait >/dev/null 2>&1
{ANSWERS}
ended=$(date +%s.%N)
docker exec "$container" rm -rf /tmp/peer
echo "$begun $ended"
"""


def deploy(made: Arena) -> None:
    """Bring 1.1.0 in, as an operator does, and keep the ledger as it is then."""
    inventory = ROOT / "build" / "bench" / "inventory"
    (inventory / "group_vars").mkdir(parents=True, exist_ok=True)
    sites = (ROOT / "inventory/lab/hosts.yml").read_text().replace("site1", made.host.name)
    (inventory / "hosts.yml").write_text(sites.replace("10.89.0.11", made.host.address))
    link = inventory / "group_vars" / "sites"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "inventory/lab/group_vars/sites")
    given = json.dumps({"lab_directory": str(ROOT / "build/lab"), "rehearse_policy": "waived"})
    subprocess.run(
        ["ansible-playbook", "deploy.yml", "-i", str(inventory), "-e", given],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made.sh("cp -a /var/lib/slipway/swarm/ledger.json /root/ledger.json")


def main() -> int:
    """Run the benchmark."""
    with arena() as made:
        deploy(made)

        def ours() -> float:
            took = float(made.engine(OURS))
            made.sh(f"cp -a /root/ledger.json /var/lib/slipway/swarm/ledger.json; {FORWARD}")
            return took

        def peer() -> float:
            begun, ended = map(float, made.sh(PEER).split())
            made.sh(FORWARD)
            return ended - begun

        return compare("rollback", ours, peer, BAR)


if __name__ == "__main__":
    sys.exit(main())
