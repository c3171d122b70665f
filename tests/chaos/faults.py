"""What happens to a host, or to whoever deploys to it, at a moment of the worst choice."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab._common import program
from lab.host import Host
from lab.writer import STATE
from tests.chaos.arena import Arena
from tests.chaos.command import Command

# Follows the journal from its present end. Prints each entry; at the one that is waited for it strikes: it waits, kills
# the process that holds the site's lock where that is asked for, and says so.
WATCH = r"""
import json, os, select, signal, sys, time
place, wanted = sys.argv[1], json.loads(sys.argv[2])
def holder():
    try:
        inode = os.stat(place + "/lock").st_ino
    except FileNotFoundError:
        return []
    rows = [line.split() for line in open("/proc/locks")]
    return [int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(":%d" % inode)]
journal = place + "/journal.jsonl"
position = os.path.getsize(journal) if os.path.exists(journal) else 0
print("watching", flush=True)
struck, rest = False, b""
while True:
    if os.path.exists(journal):
        with open(journal, "rb") as stream:
            stream.seek(position)
            rest += stream.read()
            position = stream.tell()
    while b"\n" in rest:
        line, rest = rest.split(b"\n", 1)
        entry = json.loads(line or b"{}")
        if not struck and wanted and all(entry.get(name) == wanted[name] for name in ("plan", "step", "event")):
            struck = True
            time.sleep(wanted["delay"])
            if wanted["engine"]:
                for pid in holder():
                    os.kill(pid, signal.SIGKILL)
            print("now", flush=True)
        print("entry " + json.dumps({name: entry.get(name) for name in ("plan", "step", "event")}), flush=True)
    # whoever asked is gone when its end of this is closed
    if select.select([sys.stdin], [], [], 0.002)[0] and not sys.stdin.buffer.read(1):
        break
"""
CUT = 60  # seconds that the network is gone
FULL_AT = "192m"  # the size of the file system that is filled: room enough for the gates, and little more
RULES = ("INPUT -p tcp --dport 22 -j DROP", "OUTPUT -p tcp --sport 22 -j DROP")


@dataclass(frozen=True)
class Moment:
    """When to strike: so many seconds after a step's journal entry, or after a task of the playbook begins.

    :param plan: the plan of the engine; "task" for a task, whose name then is `step`.
    :param event: begin or done.
    """

    plan: str
    step: str
    event: str = "begin"
    delay: float = 0.0

    def __str__(self) -> str:
        if self.plan == "task":
            return f"{self.step}, begun" + self._later()
        return f"{self.plan}: {self.step}, {'done' if self.event == 'done' else 'begun'}" + self._later()

    def _later(self) -> str:
        return f" + {self.delay:.1f} s" if self.delay else ""


@contextmanager
def watched(host: Host, moment: Moment | None, told: Callable[[str], None], *, engine: bool = False) -> Iterator[None]:
    """Follow the journal of a host and tell each line that WATCH prints.

    :param engine: at `moment`, also kill the process on the host that holds the site's lock.
    """
    wanted = None
    if moment is not None and moment.plan != "task":
        wanted = {"plan": moment.plan, "step": moment.step, "event": moment.event, "delay": moment.delay}
        wanted["engine"] = engine
    watch = subprocess.Popen(
        [
            *(program("docker") or "docker", "exec", "--interactive", host.container),
            *("python3", "-c", WATCH, STATE, json.dumps(wanted)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = threading.Event()

    def read() -> None:
        for line in watch.stdout or ():
            if line == "watching\n":
                ready.set()
            else:
                told(line.rstrip("\n"))
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    ready.wait(30)
    try:
        yield
    finally:
        if watch.stdin:
            watch.stdin.close()
        try:
            watch.wait(10)
        except subprocess.TimeoutExpired:
            watch.kill()
            watch.wait()
        reader.join(5)
        if watch.stdout:
            watch.stdout.close()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    :param text: as the table calls it.
    :param strike: does it; at once, or it takes until then.
    :param prepare: what has to be so before the first command.
    :param heal: what people, or time, mend before they give the next command.
    :param engine: the process on the host is killed together with the controller.
    :param by_awx: the command is started by ansible-runner.
    """

    text: str
    strike: Callable[[Arena, Command], None]
    prepare: Callable[[Arena], None] = lambda _: None
    heal: Callable[[Arena], None] = lambda _: None
    engine: bool = False
    by_awx: bool = False


def _kill(_: Arena, command: Command) -> None:
    command.kill()


def _cancel(_: Arena, command: Command) -> None:
    command.cancel()


def _kill_dockerd(arena: Arena, _: Command) -> None:
    arena.sh("kill -KILL $(cat /run/docker.pid)")


def _wait_for_dockerd(arena: Arena) -> None:
    arena.sh("systemctl start docker; for _ in $(seq 300); do docker info >/dev/null 2>&1 && exit; sleep 0.1; done")


def _stop_postgres(arena: Arena, _: Command) -> None:
    arena.sh("docker stop swarm-postgres-1 >/dev/null")


def _limit_disk(arena: Arena) -> None:
    arena.sh(
        f"mkdir -p {STATE}; copy=$(mktemp -d); cp -a {STATE}/. $copy/\n"
        f"mount -t tmpfs -o mode=711,size={FULL_AT} chaos {STATE}; cp -a $copy/. {STATE}/; rm -rf $copy"
    )


def _fill_disk(arena: Arena, _: Command) -> None:
    arena.sh(f"dd if=/dev/zero of={STATE}/filled bs=64k status=none || true")


def _empty_disk(arena: Arena) -> None:
    arena.sh(f"rm -f {STATE}/filled")


def cut(seconds: float) -> Callable[[Arena, Command], None]:
    """Return what cuts SSH to a host for so many seconds and then mends it."""

    def strike(arena: Arena, _: Command) -> None:
        begin = "; ".join(f"iptables -I {rule}" for rule in RULES)
        end = "; ".join(f"iptables -D {rule}" for rule in RULES)
        arena.sh(f"{begin}; sleep {seconds}; {end}")

    return strike


def _kill_host(arena: Arena, _: Command) -> None:
    arena.restart()


def _make_backup(arena: Arena) -> None:
    command = arena.play("playbooks/backup")
    if command.wait() != 0:
        raise RuntimeError(f"there is no backup to corrupt: {command.ended_as()}")


def _corrupt(arena: Arena, _: Command) -> None:
    arena.sh(
        f"newest=$(ls -td {STATE}/backups/*/ | head -1)\n"
        'file=$(find "$newest" -type f -name "*.dat*" -printf "%s %p\\n" | sort -n | tail -1 | cut -d" " -f2-)\n'
        'printf CORRUPTED | dd of="$file" bs=1 seek=$(( $(stat -c %s "$file") / 2 )) conv=notrunc status=none'
    )


KILLED = Fault("controller killed", _kill)
KILLED_BOTH = Fault("controller and its process on the host killed", _kill, engine=True)
CANCELLED = Fault("cancelled as AWX does", _cancel, by_awx=True)
DOCKERD = Fault("dockerd killed", _kill_dockerd, heal=_wait_for_dockerd)
POSTGRES = Fault("PostgreSQL stopped", _stop_postgres)
DISK = Fault("disk full", _fill_disk, prepare=_limit_disk, heal=_empty_disk)
NETWORK = Fault(f"network cut for {CUT} s", cut(CUT))
HOST = Fault("host killed", _kill_host)
BACKUP = Fault("newest backup corrupted", _corrupt)
OLD_BACKUP = Fault("newest backup corrupted, made before", _corrupt, prepare=_make_backup)
