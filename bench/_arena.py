"""A lab host with a large database, and the engine's own library on it, so that its work is timed without a network."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jinja2
import yaml
from jinja2.nativetypes import NativeEnvironment

from lab import engine, swarm
from lab import host as hosts
from lab.__main__ import up
from lab._common import ROOT, told
from lab.host import Host

NAME = os.environ.get("SLIPWAY_BENCH_SITE", "site9")
SIZE = float(os.environ.get("SLIPWAY_BENCH_BYTES", "1e9"))  # smaller ones are for trying a benchmark out
LIBRARY = "/opt/bench"
LONGEST = 600  # seconds that a playbook may take
PATIENCE = 2400  # seconds that a benchmark may take
SHOWN = 4000  # characters of what a playbook that failed printed
# Random hexadecimal digits: as hard to compress as real rows are at worst, and made by the server alone.
FILL = """
CREATE TABLE filler (id bigint PRIMARY KEY, campaign_id bigint, content text);
ALTER TABLE filler ALTER content SET STORAGE EXTERNAL;
INSERT INTO filler
  SELECT n, n % 200 + 1, (SELECT string_agg(md5(random()::text || m || n), '') FROM generate_series(1, 32) m)
  FROM generate_series(1, {rows}) n;
CREATE INDEX ON filler (campaign_id);
VACUUM ANALYZE filler;
CHECKPOINT;
"""
ROW = 1100  # bytes of a row, with all that belongs to it
DRIVER = """
import json, sys, time
sys.path.insert(0, "{library}")
from slipway._profile import Profile
from slipway._site import Site
site = Site(Profile.parse(json.load(open("{library}/profile.json"))))
{body}
"""


class Arena:
    """The host of one benchmark."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def sh(self, script: str) -> str:
        """Run a script on the host."""
        return self.host.sh(script)

    def engine(self, body: str) -> str:
        """Run Python on the host, in which `site` is the engine's view of it; returns what it printed."""
        script = DRIVER.format(library=LIBRARY, body=body)
        return self.host.sh("python3 -I -", stdin=script.encode())

    def query(self, sql: str) -> str:
        """Ask the application's database."""
        psql = "docker exec -i $(docker ps -qf label=com.docker.compose.service=postgres) psql -XqAt -v ON_ERROR_STOP=1"
        return self.host.sh(f"{psql} -U swarm_owner swarm_production", stdin=sql.encode()).strip()

    def fill(self, size: float) -> None:
        """Add about `size` bytes of rows."""
        with told(f"{size / 1e9:.1f} GB of rows written"):
            self.query(FILL.format(rows=int(size / ROW)))

    def settle(self) -> None:
        """Let what was written before be on the disk, so that nobody's measurement pays for another's."""
        self.query("CHECKPOINT")
        self.sh("sync")

    def ansible_playbook(self, playbook: str, **given: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook as an operator does, with other variables than the lab's."""
        inventory = ROOT / "build" / "bench" / "inventory"
        (inventory / "group_vars").mkdir(parents=True, exist_ok=True)
        sites = (ROOT / "inventory/lab/hosts.yml").read_text().replace("site1", self.host.name)
        (inventory / "hosts.yml").write_text(sites.replace("10.89.0.11", self.host.address))
        link = inventory / "group_vars" / "sites"
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT / "inventory/lab/group_vars/sites")
        variables = json.dumps({"lab_directory": str(ROOT / "build/lab"), "rehearse_policy": "waived", **given})
        return subprocess.run(
            ["ansible-playbook", playbook, "-i", str(inventory), "-e", variables],
            cwd=ROOT,
            env={**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
            check=False,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )

    def play(self, playbook: str, **given: object) -> float:
        """Run a playbook that must end well; returns its seconds."""
        begun = time.monotonic()
        done = self.ansible_playbook(playbook, **given)
        if done.returncode:
            sys.exit(f"{playbook} failed:\n{(done.stdout + done.stderr)[-SHOWN:]}")
        return time.monotonic() - begun

    def install_engine(self) -> None:
        """Copy the engine and the sample's profile to the host."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for path in sorted((ROOT / "plugins/module_utils").glob("*.py")):
                archive.add(path, f"slipway/{path.name}")
        self.host.sh(
            f"mkdir -p {LIBRARY} && tar -xC {LIBRARY} && touch {LIBRARY}/slipway/__init__.py", stdin=content.getvalue()
        )
        self.host.sh(f"cat >{LIBRARY}/profile.json", stdin=json.dumps(profile(self.host)).encode())


def profile(host: Host) -> object:
    """The sample's profile as its inventory would give it."""
    text = (ROOT / "examples/swarm/profile.yml").read_text()
    secrets = yaml.safe_load(host.secrets_file.read_text())
    names = {"site_repository": swarm.REPOSITORY, "site_host_name": "swarm.example.test", **secrets}
    environment = NativeEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)

    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return environment.from_string(value).render(names) if isinstance(value, str) and "{{" in value else value

    return filled(yaml.safe_load(text)["application"])


def stop_when_told(patience: float) -> None:
    """Let the end come in an orderly way, so that hosts are removed: when told to stop, or after so many seconds."""
    for stop in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    signal.alarm(int(patience))


@contextmanager
def arena(size: float = 0, *, empty: bool = False) -> Iterator[Arena]:
    """Start a host with `size` bytes of rows beside the sample's own; remove it at the end, also when told to stop.

    :param empty: without the application.
    """
    stop_when_told(PATIENCE)
    host = Host(NAME)
    engine.ensure()
    try:
        up(host, "1.0.0", swarm.PROXIES[0], empty=empty)
        made = Arena(host)
        made.install_engine()
        if size:
            made.fill(size)
        yield made
    finally:
        hosts.remove(host)
