"""`make faults`: lets what is in the tables happen on the real sample, and writes what came of it to docs/faults.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from lab._common import ROOT, LabError
from lab.host import Host
from tests.chaos.__main__ import machine
from tests.faults.arena import Arena
from tests.faults.cells import FAULTS, NOISE, Cell, Result, play

PAGE = ROOT / "docs" / "faults.md"
WORK = ROOT / "build" / "faults"
PLAYED = WORK / "played.jsonl"
LONGEST = 115 * 60  # seconds after which nothing more begins
PREFACE = """# What is found, and what is left alone

Written by `make faults`. Each line happens on the real sample: while a release is deployed, or under the watch of the
host with a look every 10 s and nobody at the controller. A fault has to be found by the criterion that is named, and
what has to come of it has to come; healthy noise must take no release back. Seconds are those of the whole deploy with
the way back; under the watch, those from the fault until people are told, and until the release before was well.

What the watch looks at seldom is made due at once. Data is looked at every ten minutes, what stands open every hour,
flows every hour, and of these it takes three looks: so much may come to the seconds of such lines. A report of the
host's own scanner is read by the look after it was written.
"""


def arguments() -> argparse.Namespace:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--host", default="site1", help="the lab host to play on (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="*", type=int, help="the numbers of the lines to play; the others stay as they were"
    )
    parser.add_argument("--list", action="store_true", help="name the lines and end")
    return parser.parse_args()


def place(cell: Cell) -> str:
    """When it happens."""
    return f"deploy of {cell.version}" if cell.version else "watch"


def row(number: int, cell: Cell, result: Result) -> str:
    """A line of a table."""
    seconds = "" if result.seconds is None else f"{result.seconds:.0f}"
    seconds += "" if result.healthy is None else f", {result.healthy:.0f}"
    columns = (number, cell.name, place(cell), cell.criterion, result.outcome, seconds, result.detail[:160])
    verdict = "as it should be" if result.ok else f"**not {cell.expected}**"
    return "| " + " | ".join(str(column).replace("|", "/").replace("\n", " ") for column in (*columns, verdict)) + " |"


@dataclass(frozen=True)
class Played:
    """What came of a line, as it is kept."""

    number: int
    name: str
    row: str
    ok: bool
    commit: str
    day: str


def kept(cells: Mapping[int, Cell]) -> dict[int, Played]:
    """What was kept; of a line that was played again the last, and nothing of one that is another by now."""
    lines = PLAYED.read_text().splitlines() if PLAYED.exists() else []
    found = {(item.name, _place(item.row)): item for item in (Played(**json.loads(line)) for line in lines)}
    wanted = {number: found.get((cell.name, place(cell))) for number, cell in cells.items()}
    # a line that came in before others moves them on
    return {
        number: replace(item, number=number, row=re.sub(r"^\| \d+", f"| {number}", item.row))
        for number, item in wanted.items()
        if item is not None
    }


def _place(line: str) -> str:
    return line.split(" | ")[2]


def page(played: Mapping[int, Played], cells: Mapping[int, Cell]) -> str:
    """The page with both tables."""
    every = list(played.values())
    days, commits = sorted({item.day for item in every}), list(dict.fromkeys(item.commit for item in every))
    wrong = sum(not item.ok for item in every)
    said = f"{' and '.join(days)}, commit {', '.join(commits)}, {machine()}: "
    said += f"{len(every)} lines, {wrong} not as they should be."
    head = "| # | what happens | when | criterion | what came of it | s | what was seen | |\n|" + " --- |" * 8
    tables = []
    for title, group in (("Faults", FAULTS), ("Healthy noise", NOISE)):
        lines = [played[number].row for number, cell in cells.items() if cell in group]
        tables.append(f"## {title}\n\n" + "\n".join([head, *lines]) + "\n")
    return f"{PREFACE}\n{said}\n\n" + "\n".join(tables)


def main() -> int:
    """Play them."""
    asked, began = arguments(), time.monotonic()
    numbered = dict(enumerate((*FAULTS, *NOISE), 1))
    wanted = {number: cell for number, cell in numbered.items() if asked.only is None or number in asked.only}
    if asked.list:
        for number, cell in wanted.items():
            print(f"{number:3} {cell.name}: {cell.expected}")
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    if asked.only is None:
        PLAYED.unlink(missing_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    arena = Arena(Host(asked.host), WORK / asked.host)
    arena.begin()
    wrong = 0
    for number, cell in wanted.items():
        if time.monotonic() - began > LONGEST:
            break
        try:
            result = play(arena, cell)
        except (LabError, subprocess.SubprocessError, KeyError, ValueError) as error:
            result = Result(False, "could not be played", None, None, str(error)[-300:])
        line, today = row(number, cell, result), str(dt.datetime.now(tz=dt.UTC).date())
        with PLAYED.open("a") as stream:
            stream.write(json.dumps(asdict(Played(number, cell.name, line, result.ok, commit, today))) + "\n")
        print(line, flush=True)
        wrong += not result.ok
    played = kept(numbered)
    left = sorted(wanted.keys() - played.keys())
    print(
        f"faults: {wrong} of those played are not as they should be"
        + (f"; no time was left for {left}" if left else "")
    )
    if played.keys() == numbered.keys():
        PAGE.write_text(page(played, numbered))
    return 1 if wrong or left else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"faults: {error}", file=sys.stderr)
        sys.exit(1)
