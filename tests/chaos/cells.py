"""The cells: what goes wrong, when, during which command, and which one comes next."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, pairwise
from typing import Any

from lab._common import LabError
from lab.writer import Accounts, Writer
from tests.chaos import faults
from tests.chaos.arena import Arena
from tests.chaos.command import Command
from tests.chaos.faults import Fault, Moment, watched

BEGINS_WITH = {"deploy": "1.0.0", "rollback": "1.1.0"}
RANDOM = 30
INSTANT = 0.2  # seconds; a shorter step has no inside to speak of
WRITING = 900  # seconds after which a client stops by itself
NOTHING = Accounts((), (), ())
# Proving is the controller's part: the engine journals none of it.
PROVING = ("cache_warm", "smoke_test", "monitor", "conclude")
TASK = re.compile(r"TASK \[slipway\.release\.(\w+) : (?!Validating)")

# For each phase a moment in its midst.
IN_PHASE = {
    "stage": Moment("stage", "build the images", delay=0.5),
    "backup": Moment("stage", "dump the database", delay=0.2),
    "migrate": Moment("migrate", "run db:migrate", delay=2.0),
    "switch": Moment("switch", "start the web containers", delay=1.5),
    "prove": Moment("task", "smoke_test", delay=1.0),
    "rollback": Moment("rollback", "undo the migrations", delay=1.5),
}
AFTER_THE_DUMP = Moment("backup", "check the backup and note the schema", "done")


@dataclass(frozen=True)
class Mark:
    """Something that a calm run passed, and when, in seconds since it began."""

    at: float
    moment: Moment


@dataclass(frozen=True)
class Cell:
    """One thing that goes wrong once during `verb`, and the playbooks that follow."""

    fault: Fault
    moment: Moment
    verb: str
    following: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return {"fault": self.fault.text, "moment": asdict(self.moment), "verb": self.verb, "next": self.following}


def read_cell(data: Mapping[str, Any]) -> Cell:
    """Read what `to_dict` wrote."""
    known = {fault.text: fault for fault in vars(faults).values() if isinstance(fault, Fault)}
    return Cell(known[data["fault"]], Moment(**data["moment"]), data["verb"], data["next"])


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    :param ended: how the first command ended, and each one that followed.
    :param accounts: where the acknowledged writes are; `unknown` is how many were never answered, logins not among
        them: nobody is let in while the application is away.
    :param wrong: why the cell failed; empty when it did not.
    """

    ended: tuple[str, ...]
    seconds: float
    accounts: Accounts
    unknown: int
    wrong: tuple[str, ...]


def calm(arena: Arena, verb: str) -> list[Mark]:
    """Run a command in peace and note what it passes, in order."""
    began, marks = time.monotonic(), list[Mark]()

    def told(line: str) -> None:
        if line.startswith("entry "):
            marks.append(Mark(time.monotonic() - began, Moment(**json.loads(line.removeprefix("entry ")))))

    def heard(line: str) -> None:
        task = TASK.match(line)
        if task:
            marks.append(Mark(time.monotonic() - began, Moment("task", task[1])))

    with watched(arena.host, None, told):
        command = arena.play(verb, heard)
        code = command.wait()
    log = arena.directory / f"calm-{verb}.log"
    log.write_text(command.output)
    if code != 0:
        raise LabError(f"{command.shown} does not even work in peace: {command.ended_as()} (see {log})")
    return sorted(marks, key=lambda mark: mark.at)


def boundaries(marks: Sequence[Mark]) -> Iterator[Moment]:
    """Give each boundary between two steps: before the first one, after each one, and between the parts of proving."""
    steps = [mark.moment for mark in marks if mark.moment.plan != "task"]
    yield steps[0]
    yield from (moment for moment in steps if moment.event == "done")
    tasks = [mark.moment.step for mark in marks if mark.moment.plan == "task"]
    yield from (Moment("task", name) for name in PROVING if name in tasks)


def insides(marks: Sequence[Mark]) -> list[tuple[Moment, float]]:
    """Return each step's begin and how many seconds it took."""
    steps = [mark for mark in marks if mark.moment.plan != "task"]
    return [
        (begin.moment, done.at - begin.at)
        for begin, done in pairwise(steps)
        if begin.moment.event == "begin" and done.moment.event == "done"
    ]


def random_moments(marks: dict[str, list[Mark]], seed: int) -> Iterator[tuple[str, Moment]]:
    """Give RANDOM moments inside steps: a step by lot, and a moment in it by lot."""
    chance = random.Random(seed)
    steps = [(verb, moment, seconds) for verb in marks for moment, seconds in insides(marks[verb]) if seconds > INSTANT]
    for _ in range(RANDOM):
        verb, moment, seconds = chance.choice(steps)
        yield verb, Moment(moment.plan, moment.step, delay=round(chance.uniform(0, seconds), 2))


def every_cell(marks: dict[str, list[Mark]], seed: int, following: Sequence[Sequence[str]]) -> list[Cell]:
    """Return all cells.

    :param marks: of a calm run of each verb.
    :param following: the sequences of playbooks that follow, taken in turn.
    """
    turn = cycle(following)
    plan: list[tuple[Fault, Moment, str]] = []
    for verb, passed in marks.items():
        plan += [(faults.KILLED_BOTH, moment, verb) for moment in boundaries(passed)]
    plan += [(faults.KILLED, moment, verb) for verb, moment in random_moments(marks, seed)]
    for fault in (faults.CANCELLED, faults.DOCKERD, faults.POSTGRES, faults.DISK, faults.NETWORK, faults.HOST):
        plan += [(fault, moment, _verb(phase)) for phase, moment in IN_PHASE.items()]
    for phase, moment in IN_PHASE.items():
        # there is none before the dump but an older one
        fault = faults.OLD_BACKUP if phase == "stage" else faults.BACKUP
        plan.append((fault, AFTER_THE_DUMP if phase == "backup" else moment, _verb(phase)))
    return [Cell(fault, moment, verb, next(turn)) for fault, moment, verb in plan]


def _verb(phase: str) -> str:
    return "rollback" if phase == "rollback" else "deploy"


def play(arena: Arena, cell: Cell, name: str) -> Result:
    """Play a cell and judge what is left of the host."""
    arena.put_back(BEGINS_WITH[cell.verb])
    cell.fault.prepare(arena)
    began = time.monotonic()
    with arena.writer(name, WRITING) as writer:
        wrong = [] if _takes_writes(writer, time.time()) else ["the application took no write before the cell began"]
        first, struck = _strike(arena, cell)
        commands = [first]
        if not struck:
            wrong.append("the moment never came")
        cell.fault.heal(arena)
        for verb in cell.following:
            command = arena.play(verb)
            if command.wait() is None:
                wrong.append(f"{command.shown} did not end in time")
            commands.append(command)
        if not _takes_writes(writer, time.time()):
            wrong.append("the application takes no writes")
    seconds = time.monotonic() - began
    for number, command in enumerate(commands):
        (arena.directory / f"{name}.{number}.log").write_text(command.output)
    wrong += arena.wrong()
    try:
        accounts = writer.accounts(arena.sh)
    except (LabError, KeyError) as error:
        accounts = NOTHING
        wrong.append(f"the writes cannot be looked for: {error}")
    wrong += [f"lost: {item.kind} {item.marker}" for item in accounts.lost[:3]]
    unknown = sum(item.fate == "unknown" and item.kind != "login" for item in writer.writes())
    return Result(tuple(item.ended_as() for item in commands), seconds, accounts, unknown, tuple(wrong))


def _takes_writes(writer: Writer, since: float) -> bool:
    deadline = time.monotonic() + 30
    while not writer.acknowledged_since(since):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _strike(arena: Arena, cell: Cell) -> tuple[Command, bool]:
    """Run the cell's first command, let the fault happen at its moment, and return the command when it has ended."""
    struck = threading.Event()

    def told(line: str) -> None:
        if line == "now":
            struck.set()

    def heard(line: str) -> None:
        task = TASK.match(line)
        if task and cell.moment.plan == "task" and task[1] == cell.moment.step:
            timer = threading.Timer(cell.moment.delay, struck.set)
            timer.daemon = True
            timer.start()

    with watched(arena.host, cell.moment, told, engine=cell.fault.engine):
        command = arena.play(cell.verb, heard, by_awx=cell.fault.by_awx)
        while not struck.wait(0.2) and command.running:
            pass
        if struck.is_set():
            cell.fault.strike(arena, command)
        command.wait()
    return command, struck.is_set()
