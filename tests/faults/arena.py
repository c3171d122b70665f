"""A lab host on which releases are deployed and watched while something goes wrong, seen from outside."""

from __future__ import annotations

import calendar
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import evidence, swarm
from lab._common import ROOT, LabError
from lab.host import Host
from tests.chaos.command import inventory

HERE = Path(__file__).parent
STATE = "/var/lib/slipway/swarm"
BASE, GOOD, SLOW = "1.1.0", "1.10.0", "1.11.0"
EVERY = 10  # seconds from one look of the watch to the next
LONGEST = 600  # seconds that a playbook may take
UNIT = "slipway-swarm.service"
# Hosts of the lab share their machine's clock: only what the watch itself reads can be another's.
CLOCK = f"""
cat >/usr/local/lib/libfaketime.so.1
mkdir -p /etc/systemd/system/{UNIT}.d
cat >/etc/systemd/system/{UNIT}.d/clock.conf <<'END'
[Service]
Environment=LD_PRELOAD=/usr/local/lib/libfaketime.so.1 FAKETIME={{shift}} FAKETIME_DONT_FAKE_MONOTONIC=1
END
systemctl daemon-reload
"""
INDEX = """
class RemoveIndexOfTasks < ActiveRecord::Migration[7.2]
  def change = remove_index(:tasks, [:campaign_id, :status])
end
"""
PUBLISH = f"""
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
git() {{{{ command git -c user.name=Faults -c user.email=faults@example.test "$@"; }}}}
git clone --quiet --branch {BASE} -c advice.detachedHead=false {swarm.REPOSITORY} "$work/swarm"
cd "$work/swarm"
cat >config/initializers/faults.rb <<'RUBY'
{{faults}}
RUBY
{{good}}
git add --all && git commit --quiet --message 'Release {GOOD}' && git tag {GOOD}
cat >db/migrate/20260801090000_remove_index_of_tasks.rb <<'RUBY'
{INDEX}
RUBY
{{slow}}
git add --all && git commit --quiet --message 'Release {SLOW}' && git tag {SLOW}
git push --quiet origin --tags
"""
# What is looked at seldom is looked at next: no look may be at work meanwhile, for it writes the same file.
DUE = f"""
timer=slipway-swarm.timer
systemctl stop $timer
until systemctl show --property ActiveState --value {UNIT} | grep -qx -e inactive -e failed; do sleep 0.2; done
python3 - <<'PYTHON'
import json, pathlib
path = pathlib.Path("{STATE}/watch/state.json")
memory = json.loads(path.read_text())
memory["at"]["{{kind}}"] = 0.0
path.write_text(json.dumps(memory))
PYTHON
systemctl start $timer
"""
# Four clients that keep their connections.
LOAD = """
jar=$(mktemp)
page() { curl --silent --cookie "$jar" --cookie-jar "$jar" --header 'Host: swarm.example.test' "$@"; }
token=$(page http://127.0.0.1/login | grep -o 'name="authenticity_token" value="[^"]*"' | sed -n 1p | cut -d'"' -f4)
page --output /dev/null --data-urlencode "authenticity_token=$token" \
  --data-urlencode "session[email]=operator@example.test" \
  --data-urlencode "session[password]=$(sed -n 's/^OPERATOR_PASSWORD=//p' /opt/swarm/.env)" http://127.0.0.1/login
for client in 1 2 3 4; do
  page --max-time $SECONDS_OF_LOAD --rate $RATE/s --output /dev/null "http://127.0.0.1/campaigns/[1-200]" \
    "http://127.0.0.1/agents/[1-120]" >/dev/null 2>&1 &
done
"""


@dataclass(frozen=True)
class Looked:
    """What the watch of the host has told since a moment.

    :param breach: when it told people that a criterion asked to go back (seconds since the epoch), and why.
    :param back: when it had gone back.
    :param warned: what was not well, and when: kind, subject and detail.
    :param looks: how many looks there were.
    """

    breach: tuple[float, str] | None
    back: float | None
    warned: list[tuple[float, str]]
    looks: int


def _moment(text: str) -> float:
    whole = text.partition(".")[0].rstrip("Z")
    return float(calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")))


def _faketime(directory: Path) -> bytes:
    """The library of Debian's package libfaketime."""
    subprocess.run(["apt-get", "download", "--quiet", "libfaketime"], cwd=directory, check=True, capture_output=True)
    package = next(directory.glob("libfaketime_*.deb"))
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/libfaketime.so.1"))
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


class Arena:
    """The host of one run."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host, self.directory = host, directory
        self.inventory = inventory(host, directory / "inventory")

    def begin(self) -> None:
        """Start the host anew, with the base release on it and those to come in its repository."""
        up = [sys.executable, "-m", "lab", "up", self.host.name, "--release", BASE]
        subprocess.run(up, cwd=ROOT, check=True)
        papers = {name: evidence.PAPERS.format(version=version) for name, version in (("good", GOOD), ("slow", SLOW))}
        self.host.sh(PUBLISH.format(faults=(HERE / "faults.rb").read_text(), **papers), user=swarm.OWNER)
        evidence.write(self.host)

    def sh(self, script: str) -> str:
        """Run a script on the host as root."""
        return self.host.sh(script)

    def query(self, sql: str) -> str:
        """Ask the application's database."""
        database = "$(docker ps --quiet --filter label=com.docker.compose.service=postgres)"
        psql = f"docker exec -i {database} psql -XqAt --username swarm_owner swarm_production"
        return self.sh(f"{psql} <<'SQL'\n{sql}\nSQL").strip()

    def switch(self, name: str, value: str) -> None:
        """Switch a fault of the release on, or off where `value` is empty."""
        redis = "docker exec $(docker ps --quiet --filter label=com.docker.compose.service=redis) redis-cli"
        self.sh(f"{redis} SET fault:{name} {value}" if value else f"{redis} DEL fault:{name}")

    def load(self, seconds: int, rate: int = 10) -> None:
        """Let four clients read pages for a while, beside whatever comes; `rate` pages a second each."""
        self.sh(f"SECONDS_OF_LOAD={seconds} RATE={rate}\n{LOAD}")

    def go_back(self) -> None:
        """Let the base release stand."""
        if self.state()["current"] not in {None, BASE}:
            code, _, printed = self._play("rollback.yml", {})
            if code:
                raise LabError(f"the host does not go back to {BASE}:\n{printed[-3000:]}")

    def deploy(self, version: str, **given: object) -> tuple[int, dict[str, Any], str]:
        """Deploy a release; returns the exit code, what its record says of the host, and what was printed."""
        return self._play("deploy.yml", {"release_version": version, **given})

    def _play(self, playbook: str, variables: Mapping[str, object]) -> tuple[int, dict[str, Any], str]:
        kept = self.directory / "records"
        kept.mkdir(exist_ok=True)
        # one that leaves no record has none: not that of the one before it
        records = Path(tempfile.mkdtemp(dir=kept))
        done = subprocess.run(
            ["ansible-playbook", playbook, "-i", str(self.inventory), "-e", json.dumps(variables)],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_FORCE_COLOR": "false",
                "SLIPWAY_RECORD_DIR": str(records),
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
        written = sorted(path for path in records.glob("*.json") if not path.is_symlink())
        record = json.loads(written[-1].read_text())["hosts"].get(self.host.name, {}) if written else {}
        return done.returncode, record, done.stdout + done.stderr

    def watch_good(self) -> None:
        """Let the release with the switches stand, and the host look after it."""
        if self.state()["watch"]:
            return
        self.go_back()
        code, _, printed = self.deploy(GOOD, site_watch_hours=2, site_watch_every=EVERY)
        if code:
            raise LabError(f"{GOOD} does not come in without a fault:\n{printed[-3000:]}")

    def due(self, kind: str) -> None:
        """Let the watch look next at what it looks at seldom, as if its time had passed."""
        self.sh(DUE.format(kind=kind))

    def state(self) -> dict[str, Any]:
        """The ledger; as if nothing was ever deployed where there is none."""
        text = self.sh(f"cat {STATE}/ledger.json 2>/dev/null || true")
        found: dict[str, Any] = json.loads(text) if text else {"current": None, "watch": None}
        return found

    def now(self) -> float:
        """The host's clock."""
        return float(self.sh("date +%s.%N"))

    def looked(self, since: float) -> Looked:
        """What the watch told since a moment."""
        lines = self.sh(
            f"cd {STATE}/watch 2>/dev/null || exit 0; for name in alerts looks.1 looks; do "
            'if [ -e $name.jsonl ]; then sed "s/^/$name /" $name.jsonl; fi; done'
        ).splitlines()
        told = [(name, json.loads(text)) for name, _, text in (line.partition(" ") for line in lines)]
        new = [(name, item) for name, item in told if _moment(item["at"]) >= int(since)]
        events = {item["event"]: item for name, item in new if name == "alerts" and "event" in item}
        looks = [item for name, item in new if name != "alerts"]
        warned = [
            (_moment(look["at"]), f"{item['probe']} {item['subject']}: {item['detail']}")
            for look in looks
            for item in look["not_ok"]
            if item["ok"] is False
        ]
        breach, back = events.get("breach"), events.get("taken back")
        return Looked(
            breach=(_moment(breach["at"]), breach["reason"]) if breach else None,
            back=_moment(back["at"]) if back else None,
            warned=warned,
            looks=len(looks),
        )

    def shift_clock(self, seconds: int) -> None:
        """Let the clock that the watch reads be ahead from its next look on; 0 puts it right."""
        if seconds:
            self.host.sh(CLOCK.format(shift=f"+{seconds}s"), stdin=_faketime(self.directory))
        else:
            self.sh(f"rm -r /etc/systemd/system/{UNIT}.d && systemctl daemon-reload")

    def keep_doing(self, script: str, pause: float) -> None:
        """Run a script on the host every few seconds from now on, until `stop_doing`, for ten minutes at most."""
        loop = f"for _ in $(seq {600 / pause:.0f}); do [ -e /run/fault ] || break; {script}; sleep {pause}; done"
        self.sh(f"touch /run/fault; ({loop}) >/dev/null 2>&1 &")

    def stop_doing(self) -> None:
        """End what `keep_doing` began."""
        self.sh("rm -f /run/fault")
