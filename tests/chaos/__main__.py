"""`make chaos`: plays every cell, prints the table, and writes it to docs/chaos.md when no cell was left out.

The cells and what became of them are kept in build/chaos, so that `--resume` goes on where a run was ended.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from lab._common import ROOT, LabError
from lab.host import Host
from tests.chaos.arena import Arena
from tests.chaos.cells import NOTHING, Cell, Mark, Result, calm, every_cell, play, read_cell

PAGE = ROOT / "docs" / "chaos.md"
WORK = ROOT / "build" / "chaos"
PLAN, PLAYED = WORK / "cells.json", WORK / "played.jsonl"
SEED = 20261123
LONGEST = 115 * 60  # seconds after which no further cell begins
PREFACE = """# What a deploy survives

Written by `make chaos`. In each cell something goes wrong once, at one moment of `deploy.yml` from 1.0.0 to 1.1.0 or of
`rollback.yml` from 1.1.0, while a client writes 20 times a second. Then the next command is given. Afterwards one
release must stand whole, old or new: code, images, env file, schema, every row that users did not write, files, nothing
left over, the lock free; and each acknowledged write is in the database, or in what a rollback set aside and named.

"The controller" is `ansible-playbook` with its SSH connections. At the boundaries of steps the process on the host is
killed with it, so that no further step is made; inside steps the controller alone is killed, and the host goes on.
The disk that is filled is that of `/var/lib/slipway/swarm`, made small for the cell; it is emptied before the next
command. The network that is cut is SSH to the host. Seconds are those of a cell without putting the host back.
"""


def arguments() -> argparse.Namespace:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--hosts", default="site1", help="the lab hosts to play on, at once (default: %(default)s)")
    parser.add_argument("--shard", default="1/1", help="1/4 is the first of four shares")
    parser.add_argument("--seed", type=int, default=SEED, help="of the random moments (default: %(default)s)")
    following = "what follows, taken in turn; a+b is two playbooks (default: %(default)s)"
    parser.add_argument("--next", default="deploy,rollback", help=following)
    parser.add_argument("--only", type=int, nargs="*", help="the numbers of the cells to play")
    parser.add_argument("--resume", action="store_true", help="go on with the cells of the run before")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    return parser.parse_args()


def prepare(name: str) -> tuple[Arena, dict[str, list[Mark]]]:
    """Start a host and keep both points at which cells begin; returns what calm runs passed there."""
    subprocess.run([sys.executable, "-m", "lab", "up", name], cwd=ROOT, check=True)
    arena = Arena(Host(name), WORK / name)
    arena.keep("1.0.0")
    marks = {"deploy": calm(arena, "deploy")}
    arena.keep("1.1.0")
    marks["rollback"] = calm(arena, "rollback")
    wrong = arena.wrong()
    if wrong:
        raise LabError(f"{name}: even a calm rollback leaves something wrong: {'; '.join(wrong)}")
    return arena, marks


@dataclass(frozen=True)
class Played:
    """What became of a cell, as it is kept.

    :param line: of the table.
    :param commit: what was played.
    :param found: how many acknowledged writes are in the database; others were set `aside`, or `lost`.
    """

    number: int
    line: str
    commit: str
    day: str
    whole: bool
    found: int
    aside: int
    lost: int


def already_played() -> dict[int, Played]:
    """Return what was kept; of a cell that was played again the last."""
    lines = PLAYED.read_text().splitlines() if PLAYED.exists() else []
    return {item.number: item for item in (Played(**json.loads(line)) for line in lines)}


class Queue:
    """The cells that are still to be played, by several hosts at once."""

    def __init__(self, cells: dict[int, Cell], deadline: float) -> None:
        self._cells = dict(cells)
        self._deadline = deadline
        self._lock = threading.Lock()
        self._commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()

    def take(self, verb: str) -> tuple[int, Cell] | None:
        """Take a cell, one of `verb` where there is one: its containers run already."""
        with self._lock:
            if not self._cells or time.monotonic() > self._deadline:
                return None
            same = [number for number, cell in self._cells.items() if cell.verb == verb]
            number = (same or list(self._cells))[0]
            return number, self._cells.pop(number)

    def work(self, arena: Arena) -> None:
        """Play cells until none is left."""
        verb = "deploy"
        while (taken := self.take(verb)) is not None:
            number, cell = taken
            try:
                result = play(arena, cell, f"cell{number:03}")
            except (LabError, OSError, subprocess.SubprocessError) as error:
                result = Result((), 0, NOTHING, 0, (f"the cell could not be played: {error}",))
            self._keep(number, cell, result)
            verb = "rollback" if any("1.1.0" in text for text in result.ended[-1:]) else "deploy"

    def _keep(self, number: int, cell: Cell, result: Result) -> None:
        parts = (result.accounts.found, result.accounts.aside, result.accounts.lost)
        counts = found, aside, lost = tuple(map(len, parts))
        line, today = row(number, cell, result, counts), str(dt.datetime.now(tz=dt.UTC).date())
        played = Played(number, line, self._commit, today, not result.wrong, found, aside, lost)
        with self._lock, PLAYED.open("a") as stream:
            stream.write(json.dumps(asdict(played)) + "\n")
            print(line, flush=True)


def row(number: int, cell: Cell, result: Result, counts: Sequence[int]) -> str:
    """Return a cell's line of the table."""
    found, aside, lost = counts
    columns = (
        number,
        cell.fault.text,
        f"{cell.verb}, {cell.moment}",
        " + ".join(cell.following),
        " → ".join(result.ended),
        f"{result.seconds:.0f}",
        found + aside + lost,
        found,
        aside,
        lost,
        "whole" if not result.wrong else "**" + "; ".join(result.wrong) + "**",
    )
    return "| " + " | ".join(str(column).replace("|", "/") for column in columns) + " |"


def table(played: Mapping[int, Played]) -> str:
    """Return the table."""
    head = (
        "| # | what goes wrong | moment | next | ended as | s | writes acknowledged | in the database | set aside "
        "| lost | the host |"
    )
    lines = [head, "|" + " --- |" * 11]
    return "\n".join(lines + [played[number].line for number in sorted(played)]) + "\n"


def machine() -> str:
    """Name the machine that the cells were played on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}"


def summary(cells: Sequence[Cell], played: Mapping[int, Played], seed: int) -> str:
    """Say in a paragraph what came of it."""
    every = list(played.values())
    failed = sum(not item.whole for item in every)
    found, aside, lost = (sum(getattr(item, name) for item in every) for name in ("found", "aside", "lost"))
    days, commits = sorted({item.day for item in every}), list(dict.fromkeys(item.commit for item in every))
    return (
        f"{' and '.join(days)}, commit {', '.join(commits)}, {machine()}, seed {seed}: {len(every)} of {len(cells)} "
        f"cells, {failed} failed. {found + aside + lost} writes acknowledged: {found} in the database, {aside} set "
        f"aside, {lost} lost.\n"
    )


def share(cells: Sequence[Cell], wanted: str, only: Sequence[int] | None) -> dict[int, Cell]:
    """Return the cells of a share, by their number."""
    part, parts = (int(number) for number in wanted.split("/"))
    return {
        number: cell
        for number, cell in enumerate(cells, 1)
        if number % parts == part % parts and (only is None or number in only)
    }


def main() -> int:
    """Play the cells."""
    asked = arguments()
    began = time.monotonic()
    following = [sequence.split("+") for sequence in asked.next.split(",")]
    names = asked.hosts.split(",")
    WORK.mkdir(parents=True, exist_ok=True)
    prepared = [prepare(name) for name in names]
    if asked.resume:
        cells = [read_cell(item) for item in json.loads(PLAN.read_text())]
    else:
        cells = every_cell(prepared[0][1], asked.seed, following)
    if not asked.resume and not asked.list:
        PLAN.write_text(json.dumps([cell.to_dict() for cell in cells]))
        PLAYED.unlink(missing_ok=True)
    before = already_played()
    # one that is named is played again
    mine = {
        number: cell
        for number, cell in share(cells, asked.shard, asked.only).items()
        if asked.only is not None or number not in before
    }
    print(f"chaos: {len(mine)} of {len(cells)} cells, seed {asked.seed}, {machine()}", flush=True)
    if asked.list:
        for number, cell in mine.items():
            print(f"{number:3} {cell.fault.text}: {cell.verb}, {cell.moment}, then {' + '.join(cell.following)}")
        return 0
    todo = Queue(mine, began + LONGEST)
    workers = [threading.Thread(target=todo.work, args=(arena,)) for arena, _ in prepared]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    played = already_played()
    said = summary(cells, played, asked.seed)
    page = f"{PREFACE}\n{said}\n{table(played)}"
    (WORK / "chaos.md").write_text(page)
    if len(played) == len(cells):
        PAGE.write_text(page)
    print(said)
    unplayed = sorted(mine.keys() - played.keys())
    if unplayed:
        print(f"chaos: no time was left for cells {', '.join(map(str, unplayed))}: go on with --resume")
    return 1 if unplayed or not all(played[number].whole for number in mine) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"chaos: {error}", file=sys.stderr)
        sys.exit(1)
