# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site hands back for those who help it from afar: its records and its state, without anything secret.

No env file, no backup, no raw log, nothing out of the database. What cannot be read is left out, and the manifest says
so: a site that is ill is the one that needs help.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ._bounded import bounded
from ._errors import SlipwayError
from ._files import entries
from ._probe_logs import read_logs
from ._profile import secrets as secret_values
from ._redact import Redactor, known_secrets
from ._status import facts
from ._support_archive import LARGEST, Support, fits

if TYPE_CHECKING:
    from ._log_signatures import Log
    from ._site import Site

T = TypeVar("T")

# Bytes of one file; of the files with one entry on each line the newest are kept.
_LARGEST_FILE = 4_000_000
_MOST_RUNS, _MOST_RELEASES, _MOST_REPORTS, _MOST_SIGNATURES = 20, 20, 5, 100
# Of a release neither its source nor its env file, nor how the data was, nor what commands printed.
_OF_A_RELEASE = ("release.json", "before.json", "certificate.json", "assessment.json", "bundle.json")
_LINES = ("journal.jsonl", "watch/alerts.jsonl", "watch/looks.1.jsonl", "watch/looks.jsonl")
_LOGGED = 86_400.0
_LONGEST_REASON = 300


def redactor(site: Site, marked: Iterable[str], application: object) -> Redactor:
    """What hides all that the site knows and nobody else may.

    :param marked: values that the call itself marks as secret.
    :param application: the profile as it was given.
    """
    variables: list[Mapping[str, str]] = []
    # without Docker there is nothing of theirs to be told either
    with suppress(SlipwayError, OSError, ValueError):
        variables += [item.environment for item in site.all_containers()]
    anywhere, words = site.known_secrets(variables)
    # what is secret in the profile has a name here as well
    told = known_secrets([{"secret": value} for value in (*marked, *secret_values(application))], (), site.plain())
    return Redactor(anywhere | told[0], words | told[1])


class Collector:
    """Collects files, each redacted and of a bounded size.

    :param redact: goes over all of it.
    """

    def __init__(self, redact: Redactor) -> None:
        self.redact = redact
        self._size = 0
        self.files: dict[str, bytes] = {}
        self.left_out: dict[str, str] = {}

    def attempt(self, path: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None where there is nothing, or where that is impossible, which is noted."""
        try:
            return read()
        except FileNotFoundError:
            return None
        except (SlipwayError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            # a damaged record makes its readers fail in any way
            self._leave_out(path, str(error) if isinstance(error, SlipwayError) else f"{type(error).__name__}: {error}")
            return None

    def add(self, path: str, read: Callable[[], object]) -> None:
        """Add what `read` returns; where that is impossible, why."""
        value = self.attempt(path, read)
        if value is not None:
            # as JSON has it, so that nothing is in it that the redactor does not see
            value = self.redact.clean(json.loads(json.dumps(value, default=str)))
            self._put(path, (json.dumps(value, indent=1) + "\n").encode())

    def add_lines(self, path: str, source: Path) -> None:
        """Add a file with one entry on each line, of a long one the newest."""
        try:
            lines = [json.dumps(self.redact.clean(item)).encode() + b"\n" for item in entries(source)]
        except OSError as error:
            self._leave_out(path, str(error))
            return
        left, kept = _LARGEST_FILE, len(lines)
        while kept and left >= len(lines[kept - 1]):
            kept -= 1
            left -= len(lines[kept])
        if kept:
            self._leave_out(path, f"its oldest {kept} lines")
        if lines[kept:]:
            self._put(path, b"".join(lines[kept:]))

    def _put(self, path: str, content: bytes) -> None:
        if len(content) > _LARGEST_FILE or self._size + len(content) > LARGEST:
            self._leave_out(path, f"it has {len(content)} bytes, which is too much")
        elif not fits(path):
            self._leave_out(path, "its name is none that an archive can hold")
        else:
            self._size += len(content)
            self.files[path] = content

    def _leave_out(self, path: str, reason: str) -> None:
        kept = self.redact.text(" ".join(reason.split()))[:_LONGEST_REASON]
        printable = "".join(letter if letter.isprintable() else "?" for letter in path[: _LONGEST_REASON // 2])
        self.left_out[printable] = kept


def collect(site: Site, name: str, collector: Collector, report: Callable[[str], object]) -> Support:
    """Collect what a site hands back; what matters most comes first.

    :param name: what the site is called.
    :param report: tells the history of a release.
    """
    root = site.ledger.root
    collector.add("versions.json", partial(versions, site))
    collector.add("containers.json", partial(containers, site))
    collector.add("disk.json", partial(disk, site))
    collector.add("status.json", partial(facts, site))
    collector.add("ledger.json", partial(_record, root / "ledger.json"))
    for version in collector.attempt("report", partial(_reported, site)) or ():
        collector.add(f"report/{version}.json", partial(report, version))
    for path in _newest(root.glob("releases/*/release.json"), _MOST_RELEASES):
        for record in _OF_A_RELEASE:
            collector.add(f"releases/{path.parent.name}/{record}", partial(_record, path.with_name(record)))
    for path in _newest(root.glob("runs/*.json"), _MOST_RUNS):
        collector.add(f"runs/{path.name}", partial(_record, path))
    for line in _LINES:
        collector.add_lines(line, root / line)
    collector.add("logs.json", partial(logs, site, time.time(), collector.redact.anywhere))
    return Support(site.profile.name, name, site.ledger.now(), collector.files, collector.left_out)


def _record(path: Path) -> object:
    return bounded(json.loads(path.read_text("utf-8")))


def _newest(paths: Iterable[Path], most: int) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[:most]


def _reported(site: Site) -> list[str]:
    """The releases that somebody may want a report of: what stands, what is on its way in, what happened last."""
    state = site.ledger.state()
    named = [state.current, state.candidate and state.candidate.version]
    named += [item.get("release") for item in reversed(state.history)]
    return list(dict.fromkeys(str(item) for item in named if item))[:_MOST_REPORTS]


def versions(site: Site) -> dict[str, str]:
    """What runs what runs; of what does not answer, why."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": _system(),
        # on a host it lies in a directory that is named by its digest
        "library": Path(__file__).parents[1].name,
        "docker": _told(site, "docker", "version", "--format", "{{.Server.Version}}"),
        "compose": _told(site, "docker", "compose", "version", "--short"),
    }


def _told(site: Site, *argv: str) -> str:
    try:
        return site.runner.run(argv).stdout.strip()
    except SlipwayError as error:
        return str(error)


def _system() -> str:
    try:
        lines = Path("/etc/os-release").read_text("utf-8").splitlines()
    except OSError:
        return "not known"
    return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), "not known")


def containers(site: Site) -> list[dict[str, Any]]:
    """The project's containers and their state, without their environment."""
    shown = ("name", "service", "image", "state", "health", "exit_code", "restarts", "published")
    return [
        {**{key: getattr(item, key) for key in shown}, "started": site.ledger.moment(item.started)}
        for item in sorted(site.all_containers(), key=lambda item: item.name)
    ]


def disk(site: Site) -> list[dict[str, Any]]:
    """The room where the site keeps things, in bytes."""
    places = {"application": site.directory, "ledger": site.ledger.root, "backups": site.backups}
    with suppress(SlipwayError):
        engine = site.runner.run(["docker", "info", "--format", "{{.DockerRootDir}}"]).stdout.strip()
        places["images"] = Path(engine)
    found = []
    for name, path in places.items():
        if path.exists():
            usage = shutil.disk_usage(path)
            found.append({"what": name, "path": str(path), "total": usage.total, "free": usage.free})
    return found


def logs(site: Site, now: float, secrets: Collection[str]) -> dict[str, Any]:
    """What each service logged in the last day, as signatures: never a line as it was."""
    read, unread = read_logs(site, now - _LOGGED, now, secrets=secrets)
    return {
        "services": {service: _logged(log) for service, log in read.items()},
        "unread": {service: str(error) for service, error in unread.items()},
    }


def _logged(log: Log) -> dict[str, Any]:
    blocks = log.blocks.values()
    shown = ("level", "text", "error", "count", "first", "last")
    # errors first, the most frequent of them
    signatures = sorted(log.signatures, key=lambda item: not item.error)[:_MOST_SIGNATURES]
    return {
        "lines": sum(block.lines for block in blocks),
        "errors": sum(block.errors for block in blocks),
        "requests": sum(block.requests for block in blocks),
        "failed": sum(block.failed for block in blocks),
        "signatures": [{key: getattr(item, key) for key in shown} for item in signatures],
    }
