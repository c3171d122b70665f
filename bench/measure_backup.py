"""A backup of 1 GB beside bare pg_dump with the same jobs and compression, and the hashes of its files.

Ours also holds uploads, configuration, Redis and a manifest, and brings the dump out of the container. What proves it
is timed apart: the fingerprint of the database at its point in time, and the restore into a PostgreSQL of its own.
"""

from __future__ import annotations

import json
import sys

from bench._arena import SIZE, Arena, arena
from bench._pairs import compare

BAR, PAIRS = 1.2, 9
OURS = """
from slipway._plan_backup import take_backup
with site.ledger.locked():
    begun = time.monotonic()
    take_backup(site, "bench", "a benchmark")
    took = time.monotonic() - begun
manifest = json.loads((site.backups / "bench/manifest.json").read_text())
print(json.dumps({"whole": took, **manifest["seconds"]}))
"""
VERIFY = """
from slipway._verify import verify_backup
with site.ledger.locked():
    begun = time.monotonic()
    wrong = verify_backup(site, "bench")
    print(json.dumps({"seconds": time.monotonic() - begun, "wrong": wrong}))
"""
PEER = """
container=$(docker ps -qf label=com.docker.compose.service=postgres)
begun=$(date +%s.%N)
docker exec "$container" sh -ec '
  pg_dump -U swarm_owner -Fd -j2 --compress=zstd:1 -f /tmp/peer swarm_production
  sha256sum /tmp/peer/* >/dev/null'
ended=$(date +%s.%N)
docker exec "$container" rm -rf /tmp/peer
echo "$begun $ended"
"""


def main() -> int:
    """Run the benchmark."""
    with arena(SIZE) as made:
        parts: list[dict[str, float]] = []

        def ours() -> float:
            made.sh("rm -rf /var/lib/slipway/swarm/backups/bench")
            made.settle()
            parts.append(json.loads(made.engine(OURS)))
            return parts[-1]["whole"] - parts[-1]["fingerprint"]

        ours()
        verified = json.loads(made.engine(VERIFY))
        if verified["wrong"]:
            print(f"backup: {verified['wrong']}")
            return 1
        fingerprint = sorted(item["fingerprint"] for item in parts)[len(parts) // 2]
        told = f"fingerprint {fingerprint:.1f} s, restore and compare {verified['seconds']:.1f} s"
        print(f"backup: verification apart: {told}")
        print(f"backup: all of playbooks/backup.yml, with its verification: {made.play('playbooks/backup.yml'):.1f} s")
        peer(made)
        return compare("backup", ours, lambda: peer(made), BAR, pairs=PAIRS)


def peer(made: Arena) -> float:
    """Dump and hash by hand."""
    made.settle()
    begun, ended = map(float, made.sh(PEER).split())
    return ended - begun


if __name__ == "__main__":
    sys.exit(main())
