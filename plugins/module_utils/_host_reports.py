# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports that a scanner of the host's own leaves there, for the watch.

    reports/VERSION/NAME.json    below the site's state directory; what NAME is, the scanner's owner decides

A file speaks of the release whose directory it lies in, and is compared with that of the same name for the release
before: a new vulnerability is one that the same scanner would have found there, by a database of the same time.

They are read when one of them has changed, by a process of its own whose time and memory are limited: whatever a file
holds, the watch goes on.
"""

from __future__ import annotations

import json
import os
import resource
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._bounded import bounded
from ._bundle_manifest import BundleError
from ._bundle_trust import plain
from ._errors import CommandError, SlipwayError
from ._observation import NEW, VULNERABILITY, WAY_BACK, Observation, parse_timestamp, timestamp
from ._scan_reports import SIZE_LIMIT, Report, ReportError, parse_report
from ._vulnerabilities import WARNINGS, Comparison, Known, Policy, seen_of

if TYPE_CHECKING:
    from ._process import Runner

PLACE = "reports"
# Scanners look at two releases one after the other: a report counts as of the same time for so long.
_LAG = timedelta(hours=1)
# Files of a release; vulnerabilities of each weight that are shown, and how many that were: the watch remembers them.
_MOST_FILES, _SHOWN, _REMEMBERED = 50, 5, 20
# What reading may take: seconds of processor time, seconds, bytes.
_CPU, _SECONDS, _MEMORY = 30, 120, 512_000_000
_LONGEST_NAME, _LONGEST_DETAIL = 100, 1000
_PROGRAM = "import importlib, sys; importlib.import_module(sys.argv[1]).main()"


def look(  # noqa: PLR0913, PLR0917 - what a comparison depends on
    runner: Runner,
    directory: Path,
    known: tuple[Known, Known | None],
    policy: Policy,
    last: Mapping[str, Any] | None,
    now: datetime,
) -> tuple[list[Observation], dict[str, Any] | None]:
    """Say what the reports say: those of the last look where no file has changed and the day is the same.

    :param known: the release that stands, and the one behind it.
    :param last: what this returned to be remembered, through JSON.
    :returns: nothing, and nothing to remember, where there is no report for the release that stands.
    """
    marks = {item.version: _marks(directory / item.version) for item in known if item is not None}
    if not marks[known[0].version]:
        return [], None
    # databases grow stale, and waivers end with their day
    at = timestamp(now)
    read = {"day": at[:10], "files": marks}
    if last is not None and last["read"] == read:
        told = [replace(Observation.from_dict(item), at=at) for item in last["told"]]
    else:
        told = _read_apart(runner, directory, known, policy, now)
    own = [item.subject for item in told if item.subject not in {NEW, WAY_BACK}]
    shown = list(dict.fromkeys([*own, *(last["shown"] if last is not None else ())]))[:_REMEMBERED]
    kept = {"read": read, "told": [item.to_dict() for item in told], "shown": shown}
    return [*told, *_gone(told, shown, at)], kept


def _gone(told: Sequence[Observation], shown: Sequence[str], at: str) -> Iterator[Observation]:
    """What was told once and is told no more is well: nothing else would say so."""
    known = {item.subject for item in told if item.ok is not None}
    for subject in shown:
        # where it cannot be told what is new, nothing is known of it
        if NEW in known and subject not in known:
            detail = "no report says any more that it is new"
            yield Observation(VULNERABILITY, subject, at, 0, WARNINGS, ok=True, detail=detail)


def _names(directory: Path) -> list[str]:
    """The files of a directory; what is being written has a name that begins with a dot."""
    with os.scandir(directory) as found:
        names = (item.name for item in found if not item.name.startswith("."))
        return sorted(islice(names, _MOST_FILES + 1))


def _marks(directory: Path) -> list[list[object]]:
    """What tells whether a report was written or changed; empty where there is none."""
    try:
        names = _names(directory)
        marks: list[list[object]] = [_mark("", directory)] if names else []
        return marks + [_mark(name, directory / name) for name in names]
    except FileNotFoundError:
        return []
    except OSError as error:
        return [["", error.errno]]


def _mark(name: str, path: Path) -> list[object]:
    status = path.lstat()
    # a directory changes with whatever is being written into it
    mark = [name, status.st_ino, status.st_mode, status.st_uid]
    return [*mark, status.st_size, status.st_mtime_ns] if name else mark


def _read_apart(
    runner: Runner, directory: Path, known: tuple[Known, Known | None], policy: Policy, now: datetime
) -> list[Observation]:
    """Let a process of its own read the reports."""
    asked = {
        "directory": str(directory),
        "known": [item and asdict(item) for item in known],
        "policy": asdict(policy),
        "now": timestamp(now),
    }
    python = sys.executable or "/usr/bin/python3"
    try:
        done = runner.run(
            [python, "-c", _PROGRAM, __name__],
            text=json.dumps(asked),
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd="/",
            timeout=_SECONDS,
        )
        return [Observation.from_dict(item) for item in json.loads(done.stdout)]
    except CommandError as error:
        # it says which file it reads before it does; the runner says after which time it killed it
        said = error.output.splitlines()[: -1 if error.returncode is None else None]
        reason = said[-1] if said else "nothing was said"
        if error.returncode is None or error.returncode < 0:
            reason += f": takes more than {_CPU} s or {_MEMORY // 1_000_000} MB to read"
    except (SlipwayError, ValueError) as error:
        reason = str(error)
    detail = f"the reports in {directory} could not be read: {reason}"
    return [Observation(VULNERABILITY, NEW, timestamp(now), None, None, ok=None, detail=detail)]


def main() -> None:
    """Read the reports that standard input names, and print what they say: a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    os.nice(10)
    asked = json.load(sys.stdin)
    directory, policy, now = Path(asked["directory"]), Policy.from_dict(asked["policy"]), parse_timestamp(asked["now"])
    known = [
        Known(item["version"], item["commit"], tuple(item["images"]), tuple(item["names"]))
        for item in asked["known"]
        if item is not None
    ]
    seen = [seen_of(item, _reports(directory, item.version, policy), policy, now) for item in known]
    comparison = Comparison(seen[0], seen[1] if seen[1:] else None, policy, now, _LAG)
    told = [replace(item, detail=bounded(item.detail, _LONGEST_DETAIL)) for item in comparison.observations(_SHOWN)]
    sys.stdout.write(json.dumps([item.to_dict() for item in told]))


def _reports(directory: Path, version: str, policy: Policy) -> Iterator[Report]:
    """The reports for a release, each with the name of its file for its scanner's."""
    try:
        names = _trusted_names(directory, directory / version)
    except FileNotFoundError:
        return
    except (SlipwayError, OSError) as error:
        yield Report.missing(version, SlipwayError(str(error)))
        return
    for name in names:
        yield _report(directory / version / name, version, policy)


def _trusted_names(directory: Path, own: Path) -> list[str]:
    for place in (directory, own):
        _refuse_untrusted(place, place.lstat())
    names = _names(own)
    if len(names) > _MOST_FILES:
        raise SlipwayError(f"{own}: holds more than {_MOST_FILES} files")
    return names


def _report(path: Path, version: str, policy: Policy) -> Report:
    name = "".join(letter if letter.isprintable() else "?" for letter in path.name)[:_LONGEST_NAME]
    sys.stderr.write(f"{name}\n")
    sys.stderr.flush()
    try:
        with plain(path) as stream:
            _refuse_untrusted(path, os.fstat(stream.fileno()))
            content = stream.read(SIZE_LIMIT + 1)
        report = parse_report(content, version, None, name).at_least(policy.least)
    except BundleError as error:
        reason = error.reason
    except (ReportError, SlipwayError, OSError) as error:
        reason = str(error).removeprefix(f"{name}: ").removeprefix(f"{path}: ")
    except MemoryError:
        reason = f"it takes more than {_MEMORY // 1_000_000} MB to read"
    else:
        findings = tuple(replace(item, source=name) for item in report.findings)
        return replace(report, scanner=name, findings=findings)
    return Report(version, name, None, (), (), f"could not be read: {reason}")


def _refuse_untrusted(path: Path, status: os.stat_result) -> None:
    """Refuse what somebody else than root could have written.

    :raises SlipwayError: one could.
    """
    if stat.S_ISLNK(status.st_mode):
        raise SlipwayError(f"{path}: it is a symbolic link")
    if status.st_uid != os.geteuid():
        raise SlipwayError(f"{path}: it belongs to the user id {status.st_uid}: chown it to root")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SlipwayError(f"{path}: others than root may write to it: chmod go-w")
