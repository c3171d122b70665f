"""What visitors notice of ten deploys and ten rollbacks under constant load, for each drain mode and for two peers.

Half of the releases bring an additive migration. The peers switch the same releases, built beforehand, by plain
`docker compose up -d`, and by starting twice as many web containers and removing the old ones. The control boots the
containers of a release beside the others, under the same load, and sends nobody there: what a request takes longer
then is the machine's affair, not the switch's.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from bench._arena import NAME, Arena, stop_when_told
from bench._results import OURS, Line
from lab import evidence, swarm
from lab import host as hosts
from lab._common import ROOT
from lab.host import Host
from lab.load import PREPARE, Effects, Load, Request, Summary, Target, summary

CYCLES = int(os.environ.get("SLIPWAY_BENCH_CYCLES", "10"))  # deploys, and as many rollbacks
DRAINS = os.environ.get("SLIPWAY_BENCH_DRAINS", "nginx_reload haproxy docker_dns").split()
PEERS_PROXY = "docker_dns"  # the one that finds containers which nobody tells it about
BASE = "1.1.0"
PATIENCE = 5400  # seconds
BAR_LONGEST = 2.0  # seconds
BAR_P99 = 1.5  # times the control's
CALM = 5.0  # seconds between two switches of a peer, and of the control
MOVES = {"switch", "rollback", "conclude"}  # the plans in which containers start, take over, and stop

RELEASE = """
{papers}{migration}
git add --all && git commit --quiet --message 'Release {version}' && git tag {version}
"""
MIGRATION = """
cat >db/migrate/202607010900{number:02}_add_note{number}_to_campaigns.rb <<'RUBY'
class AddNote{number}ToCampaigns < ActiveRecord::Migration[7.2]
  def change
    add_column :campaigns, :note{number}, :string
  end
end
RUBY
"""
PUBLISH = f"""
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
git() {{{{ command git -c user.name=Bench -c user.email=bench@example.test "$@"; }}}}
git clone --quiet --branch {BASE} -c advice.detachedHead=false {swarm.REPOSITORY} "$work/swarm"
cd "$work/swarm"
{{releases}}
git push --quiet origin --tags
"""
CONTROL = f"""
cd {swarm.DIRECTORY}
run() {{ name=$1; shift; docker compose run --detach --no-deps --name "$name" "$@"; }}
run control-web-1 web & run control-web-2 web &
run control-worker worker bundle exec sidekiq --config config/sidekiq.yml --queue control &
wait
for name in control-web-1 control-web-2; do
  until [ "$(docker inspect --format '{{{{.State.Health.Status}}}}' $name)" = healthy ]; do sleep 0.5; done
done
sleep {CALM}
docker stop control-web-1 control-web-2 control-worker
docker rm control-web-1 control-web-2 control-worker
"""
TAKE = f"""
cd {swarm.DIRECTORY}
git -c advice.detachedHead=false checkout --quiet {{version}}
sed -i 's/^APP_VERSION=.*/APP_VERSION={{version}}/' .env
"""
# Nobody asks their containers for a first page: a proxy that waits until that is done would cost them requests.
EAGER = f"""
cd {swarm.DIRECTORY}
sed -i 's/ rise 20 slowstart 8s / rise 2 /' haproxy/upstreams/web.cfg
grep --quiet ' rise 2 ' haproxy/upstreams/web.cfg
docker compose restart proxy
until curl --silent --fail --output /dev/null --header 'Host: swarm.example.test' http://127.0.0.1/login; do
  sleep 0.2
done
"""
BUILD = "docker compose build --quiet\n"
MIGRATE = "docker compose run --rm -T web bin/rails db:migrate\n"
PLAIN = f"""
docker compose up --detach
sleep {CALM}
docker compose up --detach --wait
"""
DOUBLE = f"""
old=$(docker compose ps --quiet web)
docker compose up --detach --no-deps --no-recreate --scale web=$((2 * $(wc -w <<<"$old"))) web
docker compose ps --quiet web | while read -r container; do
  until [ "$(docker inspect --format '{{{{.State.Health.Status}}}}' "$container")" = healthy ]; do sleep 0.5; done
done
docker stop $old
docker rm $old
docker compose up --detach --no-deps worker
sleep {CALM}
"""


@dataclass(frozen=True)
class Figures:
    """What one way of switching did to the load.

    :param whole: all requests while it went on; `moving` those while containers started, took over and stopped.
    :param control: requests while containers were booted beside the others; None for a peer.
    :param seconds: how long all switches took together.
    """

    whole: Summary
    moving: Summary
    control: Summary | None
    effects: Effects
    seconds: float


def has_migration(number: int) -> bool:
    """Whether the release of that number, counted from 1, brings a migration."""
    return number % 2 == 0


def version(number: int) -> str:
    """The version of the release of that number."""
    return f"1.9.{number}"


def publish_script(count: int) -> str:
    """The script that publishes so many releases, each made from the one before."""
    releases = (
        RELEASE.format(
            version=version(number),
            papers=evidence.PAPERS.format(version=version(number)),
            migration=MIGRATION.format(number=number) if has_migration(number) else "",
        )
        for number in range(1, count + 1)
    )
    return PUBLISH.format(releases="".join(releases))


def moves(journal: Iterable[str]) -> list[tuple[float, float]]:
    """Find in the engine's journal when containers moved, in seconds since the epoch.

    Its times are whole seconds, so that each span ends one later.
    """
    entries = [json.loads(line) for line in journal]
    spans = []
    for plan, group in itertools.groupby(entries, lambda entry: entry.get("plan")):
        if plan in MOVES:
            times = [datetime.fromisoformat(entry["at"]).timestamp() for entry in group]
            spans.append((times[0], times[-1] + 1))
    return spans


def within(load: Load, spans: Iterable[tuple[float, float]]) -> Summary:
    """Sum up the requests that were due in any of the spans."""
    chosen: dict[int, Request] = {id(item): item for span in spans for item in load.within(*span)}
    return summary(chosen.values())


@contextmanager
def standing(proxy: str, count: int) -> Iterator[Arena]:
    """Start a host behind a proxy, the base release on it and `count` others to come; remove it at the end."""
    host = Host(NAME)
    command = [sys.executable, "-m", "lab", "up", NAME, "--release", BASE, "--proxy", proxy]
    try:
        subprocess.run(command, cwd=ROOT, check=True)
        made = Arena(host)
        made.host.sh(publish_script(count), user=swarm.OWNER)
        evidence.write(host)
        made.query(PREPARE)
        yield made
    finally:
        hosts.remove(host)


def load_on(host: Host) -> Load:
    """The load on a host; it would end by itself."""
    password = yaml.safe_load(host.secrets_file.read_text())["vault_operator_password"]
    return Load(Target(host.address, "swarm.example.test", password), PATIENCE)


def proxy_variables(drain: str) -> dict[str, object]:
    """What the inventory must say of a host behind that proxy."""
    return dict(yaml.safe_load((ROOT / "lab/proxies" / f"{drain}.yml").read_text()))


def ours(drain: str) -> Figures:
    """Deploy and roll back by the playbooks."""
    proxy = proxy_variables(drain)
    with standing(drain, CYCLES) as made:
        with load_on(made.host) as load:
            booted = []
            for _ in range(CYCLES):
                begun = time.time()
                made.host.sh(CONTROL, user=swarm.OWNER)
                booted.append((begun, time.time()))
            begun = time.time()
            for number in range(1, CYCLES + 1):
                there = made.play("deploy.yml", release_version=version(number), rehearse_policy="required", **proxy)
                back = made.play("rollback.yml", **proxy)
                print(f"{drain}: {version(number)} deployed in {there:.0f} s, taken back in {back:.0f} s", flush=True)
            ended = time.time()
        moved = moves(made.sh("cat /var/lib/slipway/swarm/journal.jsonl").splitlines())
        return Figures(
            within(load, [(begun, ended)]),
            within(load, moved),
            within(load, booted),
            load.effects(made.query),
            ended - begun,
        )


def peer(made: Arena, switch: str, first: int) -> Figures:
    """Deploy and roll back by hand, from the release of number `first` on."""
    with load_on(made.host) as load:
        begun = time.time()
        for number in range(first, first + CYCLES):
            migrate = MIGRATE if has_migration(number) else ""
            made.host.sh(TAKE.format(version=version(number)) + migrate + switch, user=swarm.OWNER)
            made.host.sh(TAKE.format(version=BASE) + switch, user=swarm.OWNER)
        ended = time.time()
    every = within(load, [(begun, ended)])
    return Figures(every, every, None, load.effects(made.query), ended - begun)


def peers() -> dict[str, Figures]:
    """Measure both peers on one host; their releases are built before."""
    with standing(PEERS_PROXY, 2 * CYCLES) as made:
        made.host.sh(f"git -C {swarm.DIRECTORY} fetch --quiet --tags", user=swarm.OWNER)
        for number in range(1, 2 * CYCLES + 1):
            made.host.sh(TAKE.format(version=version(number)) + BUILD, user=swarm.OWNER)
        made.host.sh(TAKE.format(version=BASE) + EAGER, user=swarm.OWNER)
        return {"compose up -d": peer(made, PLAIN, 1), "start 2N, remove N": peer(made, DOUBLE, CYCLES + 1)}


def tell(name: str, figures: Figures) -> None:
    """Print what one way of switching did."""

    def times(found: Summary) -> str:
        return f"p50 {found.p50 * 1e3:.0f} ms, p99 {found.p99 * 1e3:.0f} ms, longest {found.longest:.2f} s"

    def moment(item: Request) -> str:
        return f"{item.kind} of {datetime.fromtimestamp(item.due, UTC):%H:%M:%S} UTC {item.seconds:.2f} s"

    def reasons(found: dict[str, int]) -> str:
        return ", ".join(f"{count} x {reason}" for reason, count in sorted(found.items())) or "none"

    whole, effects = figures.whole, figures.effects
    print(f"{name}: {whole.count} requests in {figures.seconds:.0f} s, {whole.failed} failed, {whole.retried} retried")
    print(f"  failed: {reasons(whole.failures)}")
    print(f"  all the time: {times(whole)}")
    print(f"  slowest: {', '.join(moment(item) for item in whole.slowest)}")
    if figures.control is not None:
        print(f"  while containers move: {times(figures.moving)} ({figures.moving.count} requests)")
        print(f"  control: {times(figures.control)} ({figures.control.count} requests)")
    print(f"  writes: {effects.writes}, {effects.writes_lost} lost, {effects.writes_doubled} doubled")
    print(f"  jobs: {effects.jobs}, {effects.jobs_lost} lost, {effects.jobs_doubled} doubled")
    print(f"  subscribers: let go {reasons(effects.disconnects)}; refused {reasons(effects.refusals)}")
    print(f"  subscribers: longest {effects.gap:.1f} s without, {effects.missed} broadcasts missed", flush=True)


def judge(drain: str, mine: Figures, plain: Figures) -> list[bool]:
    """Print how a drain mode stands to each bar; says which hold."""
    name = f"availability {drain}"
    failed = mine.whole.failed, plain.whole.failed
    wrong = mine.effects.lost_or_doubled, plain.effects.lost_or_doubled
    longest = mine.whole.longest, plain.whole.longest
    p99 = mine.moving.p99, mine.control.p99 if mine.control else 0.0
    lines = [
        Line.of(f"{name} failed", "requests", failed, bar=0, ok=failed[0] == 0, bar_of=OURS),
        Line.of(f"{name} lost or doubled", "writes and jobs", wrong, bar=0, ok=wrong[0] == 0, bar_of=OURS),
        Line.of(f"{name} longest", "s", longest, bar=BAR_LONGEST, ok=longest[0] < BAR_LONGEST, bar_of=OURS),
        Line.of(f"{name} p99 to control", "s", p99, bar=BAR_P99, ok=0 < p99[0] <= BAR_P99 * p99[1]),
    ]
    return [line.tell() for line in lines]


def main() -> int:
    """Run the benchmark."""
    stop_when_told(PATIENCE)
    found = {}
    for drain in DRAINS:
        found[drain] = ours(drain)
        tell(drain, found[drain])
    others = peers()
    for name, figures in others.items():
        tell(name, figures)
    plain = others["compose up -d"]
    held = [ok for drain, figures in found.items() for ok in judge(drain, figures, plain)]
    failed = sum(figures.whole.failed for figures in found.values()), plain.whole.failed
    # a peer without a failure means that the load sees none
    ok = all(held) and plain.whole.failed > 0
    return 0 if Line.of("availability", "failed requests", failed, bar=0, ok=ok, bar_of=OURS).tell() else 1


if __name__ == "__main__":
    sys.exit(main())
