# SPDX-License-Identifier: GPL-3.0-or-later
"""Critical flows: requests one after another as a user makes them, and a cleanup that runs whatever happened."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Callable

from ._cable import Cable
from ._clock import Clock
from ._errors import SlipwayError
from ._http import HttpError, Response
from ._observation import Observation, timestamp
from ._profile import MARKER_PREFIX, Broadcast, Capture, Cleanup, Flow, Step
from ._session import LoginError, Session, Visitor

REMOVED = (200, 202, 204, 302, 303, 404, 410)
# A proxy says these when it gave up waiting: the application may still be at work on the request.
LOST = frozenset({408, 502, 504})
PATIENCE = 1.0
_REFERENCE = re.compile(r"\$\{([^}]*)\}")


class _FlowError(SlipwayError):
    pass


def new_marker() -> str:
    """Make a name that tells what this run creates from everything else."""
    return f"{MARKER_PREFIX}{secrets.token_hex(6)}"


def probe_flow(
    session: Session, flow: Flow, clock: Clock, marker: Callable[[], str] = new_marker
) -> tuple[list[Observation], bool]:
    """Go through a flow, then remove what it made; the cleanup is an observation of its own.

    :return: the observations, and whether something that the flow made may still be there.
    """
    run = _Run(session, flow, clock, marker())
    observations = [run.steps()]
    if flow.cleanup:
        observations.append(run.cleanup())
    clean = bool(flow.cleanup) and bool(observations[-1].ok)
    return observations, run.wrote and not clean


@dataclass(frozen=True)
class _Found:
    """The records in a listing that this product made: paths that delete them, and whether this run's is one."""

    paths: tuple[str, ...]
    own: bool


class _Run:
    def __init__(self, session: Session, flow: Flow, clock: Clock, marker: str) -> None:
        self._session = session
        self._flow = flow
        self._clock = clock
        self._marker = marker
        self._lost = False
        self.wrote = False

    def _observe(self, subject: str, value: float | None, unit: str, problem: str | None, said: str) -> Observation:
        return Observation(
            "flow",
            subject,
            timestamp(self._clock.now()),
            value,
            None if value is None else unit,
            ok=not problem,
            detail=problem or said,
        )

    def steps(self) -> Observation:
        """Do what a user does; the value is the time that it took."""
        begun = self._clock.monotonic()
        values = {"marker": self._marker}
        problem = None
        try:
            visitor = self._session.visitor()
            for step in self._flow.steps:
                self._step(visitor, step, values)
        except (LoginError, _FlowError) as error:
            problem = str(error)
        seconds = round(self._clock.monotonic() - begun, 3)
        return self._observe(self._flow.name, seconds, "s", problem, f"{len(self._flow.steps)} steps")

    def _step(self, visitor: Visitor, step: Step, values: dict[str, str]) -> None:
        path = _filled(step.path, values)
        name = f"{step.verb.upper()} {path.partition('?')[0]}"
        with self._listening(visitor, step.expect.broadcast, values) as cable:
            self._request(visitor, step, path, name, values)
            if cable is not None and step.expect.broadcast is not None:
                wanted = _filled(step.expect.broadcast.contains, values)
                try:
                    cable.hear(wanted, step.expect.broadcast.within)
                except HttpError as error:
                    raise _FlowError(f"{name}: {step.expect.broadcast.path}: {error}") from error

    @contextmanager
    def _listening(
        self, visitor: Visitor, broadcast: Broadcast | None, values: Mapping[str, str]
    ) -> Iterator[Cable | None]:
        """Subscribe before something is asked for that others are to hear of."""
        if broadcast is None:
            yield None
            return
        channel = {key: _filled(text, values) for key, text in broadcast.channel.items()}
        try:
            cable = Cable(visitor.client, broadcast.path, channel, visitor.profile.critical_timeout)
        except HttpError as error:
            raise _FlowError(f"GET {broadcast.path}: {error}") from error
        with closing(cable):
            yield cable

    def _request(self, visitor: Visitor, step: Step, path: str, name: str, values: dict[str, str]) -> None:
        try:
            if step.writes:
                self.wrote = True
                answer = visitor.send(step.verb, path, {key: _filled(text, values) for key, text in step.form.items()})
            else:
                answer = visitor.get(path)
        except HttpError as error:
            self._lost = self._lost or step.writes
            raise _FlowError(f"{name}: {error}") from error
        self._lost = self._lost or (step.writes and answer.status in LOST)
        wrong = visitor.wrong(answer, step.expect.status)
        if wrong:
            raise _FlowError(f"{name}: {wrong}")
        wanted = None if step.expect.contains is None else _filled(step.expect.contains, values)
        if wanted is not None and wanted not in answer.text:
            raise _FlowError(f"{name}: {answer.status}, but does not contain {wanted!r}")
        for capture in step.captures:
            values[capture.name] = _captured(capture, answer, name)

    def cleanup(self) -> Observation:
        """Remove what this flow made, now or in earlier runs; the value is the number of records removed."""
        removed = 0
        problems: list[str] = []
        for cleanup in self._flow.cleanup:
            count, problem = self._remove(cleanup)
            removed += count
            problems += [problem] if problem else []
        subject = f"{self._flow.name}: cleanup"
        return self._observe(subject, removed, "records", "; ".join(problems), f"{removed} removed, none left")

    def _remove(self, cleanup: Cleanup) -> tuple[int, str | None]:
        tried: dict[str, str | None] = {}
        own = False
        try:
            visitor = self._session.visitor()
            # An answer that was lost may stand for a record that is still to come.
            end = self._clock.monotonic() + (visitor.profile.critical_timeout if self._lost else 0)
            while True:
                found = self._list(visitor, cleanup)
                own = own or found.own
                fresh = [path for path in found.paths if path not in tried]
                tried.update((path, self._delete(visitor, path)) for path in fresh)
                # After a removal the list is read again: it may show but the first of many, and it proves the removal.
                if not fresh:
                    if own or self._clock.monotonic() >= end:
                        break
                    self._clock.sleep(PATIENCE)
        except (LoginError, _FlowError) as error:
            return sum(problem is None for problem in tried.values()), str(error)
        if not found.paths:
            return len(tried), None
        reasons = [tried[path] for path in found.paths if tried[path]] or ["deleted, yet still listed"]
        return len(tried) - len(found.paths), f"{len(found.paths)} records {MARKER_PREFIX}* are left: {reasons[0]}"

    def _list(self, visitor: Visitor, cleanup: Cleanup) -> _Found:
        path = cleanup.get
        name = f"GET {path.partition('?')[0]}"
        try:
            answer = visitor.get(path)
        except HttpError as error:
            raise _FlowError(f"{name}: {error}") from error
        wrong = visitor.wrong(answer, (200,))
        if wrong:
            raise _FlowError(f"{name}: {wrong}")
        paths = []
        own = False
        for record, match in _records(answer, cleanup.each):
            # A listing that ignores its filter must not cost a customer's records.
            if MARKER_PREFIX not in record:
                raise _FlowError(f"{name}: lists records that are not {MARKER_PREFIX}*: nothing is removed")
            own = own or self._marker in record
            groups = {str(number): match.group(number) or "" for number in range(1, (match.re.groups or 0) + 1)}
            paths.append(_filled(cleanup.delete, groups))
        return _Found(tuple(paths), own)

    @staticmethod
    def _delete(visitor: Visitor, path: str) -> str | None:
        try:
            wrong = visitor.wrong(visitor.send("delete", path, {}), REMOVED)
        except HttpError as error:
            wrong = str(error)
        return f"DELETE {path}: {wrong}" if wrong else None


def _records(answer: Response, each: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
    """Find the records of a listing, each as text with the match in it.

    The elements of a JSON list are records, written without spaces. Elsewhere a match is all that is known of a record.
    """
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list):
        texts = [json.dumps(item, separators=(",", ":"), ensure_ascii=False) for item in document]
        found = [(text, each.search(text)) for text in texts]
        return [(text, match) for text, match in found if match is not None]
    return [(match.group(0), match) for match in each.finditer(answer.text)]


def _captured(capture: Capture, answer: Response, name: str) -> str:
    source = answer.text if capture.header is None else answer.header(capture.header) or ""
    match = capture.pattern.search(source)
    if match is None or match.group(1) is None:
        where = "the answer" if capture.header is None else f"the header {capture.header}"
        raise _FlowError(f"{name}: {where} does not contain {capture.name} ({capture.pattern.pattern})")
    return match.group(1)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda match: values[match.group(1)], text)
