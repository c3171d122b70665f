"""`make faults`: lets what is in the tables happen on the real sample, and writes what came of it to docs/faults.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from lab._common import ROOT, LabError
from lab.host import Host
from tests.chaos.__main__ import machine
from tests.faults.arena import Arena
from tests.faults.cells import FAULTS, NOISE, Cell, Result, play

PAGE = ROOT / "docs" / "faults.md"
WORK = ROOT / "build" / "faults"
LONGEST = 115 * 60  # seconds after which nothing more begins
PREFACE = """# What is found, and what is left alone

Written by `make faults`. Each line happens on the real sample: while a release is deployed, or under the watch of the
host with a look every 10 s and nobody at the controller. A fault has to be found by the criterion that is named, and
what has to come of it has to come; healthy noise must take no release back. Seconds are those of the whole deploy with
the way back; under the watch, those from the fault until people are told, and until the release before was well.
"""


def arguments() -> argparse.Namespace:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--host", default="site1", help="the lab host to play on (default: %(default)s)")
    parser.add_argument("--only", nargs="*", type=int, help="the numbers of the lines to play")
    parser.add_argument("--list", action="store_true", help="name the lines and end")
    return parser.parse_args()


def row(number: int, cell: Cell, result: Result) -> str:
    """A line of a table."""
    seconds = "" if result.seconds is None else f"{result.seconds:.0f}"
    seconds += "" if result.healthy is None else f", {result.healthy:.0f}"
    place = f"deploy of {cell.version}" if cell.version else "watch"
    columns = (number, cell.name, place, cell.criterion, result.outcome, seconds, result.detail[:160])
    verdict = "as it should be" if result.ok else f"**not {cell.expected}**"
    return "| " + " | ".join(str(column).replace("|", "/").replace("\n", " ") for column in (*columns, verdict)) + " |"


def page(played: Sequence[tuple[int, Cell, Result]], said: str) -> str:
    """The page with both tables."""
    head = "| # | what happens | when | criterion | what came of it | s | what was seen | |\n|" + " --- |" * 8
    tables = []
    for title, cells in (("Faults", FAULTS), ("Healthy noise", NOISE)):
        lines = [row(*item) for item in played if item[1] in cells]
        tables.append(f"## {title}\n\n" + "\n".join([head, *lines]) + "\n")
    return f"{PREFACE}\n{said}\n" + "\n".join(tables)


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
    arena = Arena(Host(asked.host), WORK / asked.host)
    arena.begin()
    played: list[tuple[int, Cell, Result]] = []
    for number, cell in wanted.items():
        if time.monotonic() - began > LONGEST:
            break
        try:
            result = play(arena, cell)
        except (LabError, subprocess.SubprocessError, KeyError, ValueError) as error:
            result = Result(False, "could not be played", None, None, str(error)[-300:])
        played.append((number, cell, result))
        with (WORK / "played.jsonl").open("a") as stream:
            stream.write(json.dumps({"number": number, "name": cell.name, **asdict(result)}) + "\n")
        print(row(number, cell, result), flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    wrong = sum(not result.ok for _, _, result in played)
    today, minutes = dt.datetime.now(tz=dt.UTC).date(), (time.monotonic() - began) / 60
    said = f"{today}, commit {commit}, {machine()}: {len(played)} of {len(numbered)}"
    said += f", {wrong} not as they should be; {minutes:.0f} min.\n"
    print(said)
    if len(played) == len(numbered):
        PAGE.write_text(page(played, said))
    return 1 if wrong or len(played) < len(wanted) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"faults: {error}", file=sys.stderr)
        sys.exit(1)
