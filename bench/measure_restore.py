"""A backup of 1 GB loaded beside the database, next to bare pg_restore with the same jobs, and the hashes of the files.

Ours also brings the dump into the container and gives the new database its owner, locale, settings and grants. The
comparison with what the database held is verification, and timed apart by `bench/backup`.
"""

from __future__ import annotations

import sys

from bench._arena import SIZE, Arena, arena
from bench._pairs import compare

BAR, PAIRS = 1.2, 9
PREPARE = """
from slipway._plan_backup import take_backup
with site.ledger.locked():
    take_backup(site, "bench", "a benchmark")
"""
OURS = """
from slipway._manifest import check_backup
database = site.database
begun = time.monotonic()
wrong = check_backup(site, "bench")
database.restore(site.backups / "bench/database", database.copy_name, database.facts())
print(time.monotonic() - begun)
if wrong:
    sys.exit(f"the backup is damaged: {wrong}")
database.drop(database.copy_name)
"""
CONTAINER = "container=$(docker ps -qf label=com.docker.compose.service=postgres)"
PEER = f"""
{CONTAINER}
begun=$(date +%s.%N)
docker exec "$container" sh -ec '
  sha256sum /tmp/peer/* >/dev/null
  createdb -U swarm_owner -T template0 peer
  pg_restore -U swarm_owner -j2 --exit-on-error -d peer /tmp/peer'
ended=$(date +%s.%N)
docker exec "$container" dropdb -U swarm_owner peer
echo "$begun $ended"
"""
DUMP = f"""
{CONTAINER}
docker exec "$container" pg_dump -U swarm_owner -Fd -j2 --compress=zstd:1 -f /tmp/peer swarm_production
"""


def ours(made: Arena) -> float:
    """Check and restore by the engine."""
    made.settle()
    return float(made.engine(OURS))


def peer(made: Arena) -> float:
    """Hash and restore by hand."""
    made.settle()
    begun, ended = map(float, made.sh(PEER).split())
    return ended - begun


def main() -> int:
    """Run the benchmark."""
    with arena(SIZE) as made:
        made.engine(PREPARE)
        made.sh(DUMP)
        for each in (ours, peer):
            each(made)
        return compare("restore", lambda: ours(made), lambda: peer(made), BAR, pairs=PAIRS)


if __name__ == "__main__":
    sys.exit(main())
