"""What the host's watch of a release costs for ten minutes, and how long a breach lasts with nobody there.

Each look writes down the processor time and the memory that it took, its own and that of the commands it ran, as the
kernel counts them. Dockerd's part, and that of what runs in containers, is not among them. The peer of a share is a
whole core. Then the worker is stopped for good, with the controller gone, and the host goes back by itself.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from bench._arena import NAME, Arena, stop_when_told
from bench._results import Line
from bench.measure_deploy_overhead import standing
from lab import host as hosts
from lab.host import Host

PERIOD = 600.0  # seconds
EVERY = 60  # seconds from one look to the next
MOST_CPU, MOST_MEMORY = 0.01, 40e6  # of a core, bytes
RELEASE = "1.9.1"
PATIENCE = 1800  # seconds
BACK_WITHIN = 300  # seconds
STATE = "/var/lib/slipway/swarm"
WORKER = "docker ps --quiet --filter label=com.docker.compose.service=worker"


def looks(made: Arena, since: float) -> list[dict[str, float]]:
    """What each look took since a moment, in seconds since the epoch."""
    begun = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
    lines = map(json.loads, made.sh(f"cat {STATE}/watch/looks*.jsonl").splitlines())
    return [line["cost"] for line in lines if line["at"] >= begun]


def breach(made: Arena) -> float:
    """Stop the worker for good; returns the seconds until the release before runs and is well."""
    made.sh(f"docker stop $({WORKER})")
    begun = time.time()
    made.sh(f"timeout {BACK_WITHIN} sh -c 'while [ -e {STATE}/agent ]; do sleep 0.2; done'")
    took = time.time() - begun
    told = [json.loads(line) for line in made.sh(f"cat {STATE}/watch/alerts.jsonl").splitlines()]
    for item in told:
        print(f"watch: {item['at']} {item['event']}: {item['reason']}; {item['next']}")
    if [item["event"] for item in told] != ["breach", "taken back"]:
        sys.exit("watch: the host did not go back by itself")
    return took


def main() -> int:
    """Run the benchmark."""
    stop_when_told(PATIENCE)
    host = Host(NAME)
    try:
        made = Arena(standing(NAME, 1))
        made.play("deploy.yml", release_version=RELEASE, site_watch_hours=1, site_watch_every=EVERY)
        begun = time.time()
        time.sleep(PERIOD)
        costs = looks(made, begun)
        if len(costs) < PERIOD / EVERY - 1:
            sys.exit(f"watch: {len(costs)} looks in {PERIOD:.0f} s")
        own, commands = (sum(item[key] for item in costs) / PERIOD for key in ("own", "commands"))
        memory = max(item["memory"] for item in costs)
        print(f"watch: {len(costs)} looks, {statistics.median(item['own'] for item in costs):.2f} s of processor each")
        print(f"watch: commands that it ran took {100 * commands:.2f} % of a core")
        print(f"watch: {breach(made):.0f} s from a breach until the release before is well, by the host alone")
        lines = [
            Line.of("watch memory", "MB", (memory / 1e6, MOST_MEMORY / 1e6), bar=1.0, ok=memory <= MOST_MEMORY),
            Line.of("watch", "of a core", (own, 1.0), bar=MOST_CPU, ok=own <= MOST_CPU),
        ]
        held = [line.tell() for line in lines]
        return 0 if all(held) else 1
    finally:
        hosts.remove(host)


if __name__ == "__main__":
    sys.exit(main())
