# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the lines that containers print, whatever their format. What is in them may come from anybody."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

# Bytes of a line that are read; what lies beyond is left out.
LONGEST = 65_536
# Characters of a message that are read.
LONGEST_MESSAGE = 2000
_SHOWN_FRAMES = 20
_REQUEST_STATUS = range(100, 600)

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ?")
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_])")
_ANY_NUMBER = re.compile(rb"\d[\w.:-]*")
_DECODE = json.JSONDecoder().raw_decode
_LEVELS = {
    **dict.fromkeys(("debug", "trace"), "debug"),
    **dict.fromkeys(("info", "notice", "log", "unknown", "any"), "info"),
    **dict.fromkeys(("warn", "warning"), "warn"),
    **dict.fromkeys(("error", "err", "eror"), "error"),
    **dict.fromkeys(("fatal", "panic", "critical", "crit", "alert", "emerg"), "fatal"),
}
_WORDS = "|".join(sorted(_LEVELS, key=len, reverse=True))
_SIDEKIQ = re.compile(r"(?:\S{10,40} )?pid=\d+ tid=\w+ (?:[\w.]+=\S* ){0,20}(?P<level>[A-Z]+): ")
_PREFIXES = (
    # Ruby's Logger
    re.compile(r"[DIWEFAU], \[[^\]]{10,60}\]\s+(?P<level>[A-Z]+) -- [^:]{0,80}: ?"),
    _SIDEKIQ,
    # nginx
    re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?P<level>[a-z]+)\] \d+#\d+: (?:\*\d+ )?"),
    # a time, if any, and a level, in one of many ways
    re.compile(
        r"\[?(?:\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S{0,12}\]?(?: [A-Z]{3})? )?"
        rf"(?:\[\d+\] )?\[?(?P<level>(?i:{_WORDS}))(?:\]|:| --| (?=\[))[\s:]*"
    ),
    re.compile(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S{0,12}(?: [+-]\d{4})?\]? (?P<level>)"),
)
_TAGS = re.compile(r"(?:\[[^\]\s]{1,100}\] ?){1,5}")
_ACCESS = re.compile(r'\S+ \S+ \S+ \[[^\]]{10,40}\] "([A-Z]{3,10}) (\S+)[^"]*" (\d{3}) ')
_COMPLETED = re.compile(r"Completed (\d{3}) ([\w ]{0,40}?) ?in ([\d.]{1,12})ms")
_LOGRAGE = re.compile(r"method=(\w+) path=(\S+) (.*)")
_PAIRS = re.compile(r"(controller|action|status|duration|error)=('[^']*'|\S+)")
_FRAME = re.compile(
    r"\s*(?:\d+: )?(?:from )?(?:\([^)\s]{1,60}\) |[\w.-]{1,80} \([\w.]{1,40}\) )?"
    r"(?P<file>[^\s:]{1,300}\.(?:rb|erb|ru|rake|haml|slim|builder)):\d+(?::in [`'](?P<method>[^']{0,200})')?"
)
# What can still be read of JSON that is broken, or too long to be read whole.
_BROKEN = {
    key: re.compile(rf'"(?:{names})" ?: ?"?((?<=")[^"\\]*|\d+)')
    for key, names in {
        "level": "level|severity|lvl",
        "status": "status",
        "message": "message|msg",
        "method": "method",
        "controller": "controller",
        "action": "action",
    }.items()
}


# How many kinds of JSON lines with the same first key are learnt, how many such keys, with how many keys in all.
_SHAPES, _FIRST_KEYS, _MOST_KEYS = 5, 20, 60
# How many entries are remembered, of lines that are not longer.
_ENTRIES, _SHORT = 5000, 2000
# The keys that are read, and what their values must be for a kind to be learnt; of a request fewer matter.
_REQUEST: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("method", "controller", "action", "error", "exception"), (str,)),
    "status": (int,),
    "duration": (int, float),
}
_READ = {
    **_REQUEST,
    **dict.fromkeys(("level", "severity", "lvl", "message", "msg", "tid", "path", "uri"), (str,)),
}
# How values look.
_PATTERNS: dict[type, bytes] = {
    str: rb'"(?:[^"]*)"',
    **dict.fromkeys((int, float), rb"(?:-?\d{1,20}(?:\.\d{1,20})?)"),
    **dict.fromkeys((bool, type(None)), rb"(?:true|false|null)"),
    dict: rb"(?:\{[^][{}]*\})",
    list: rb"(?:\[[^][{}]*\])",
}


class Entry(NamedTuple):  # a frozen dataclass takes three times as long to make, and millions are made
    """What a line says.

    :param level: debug, info, warn, error, fatal, or empty when it is not known.
    :param message: what it says; of a request its method and where it went.
    :param status: the HTTP status with which a request ended; 0 when the line is about something else.
    :param duration: milliseconds that the request took, where it says so.
    :param frame: whether it is a line of a backtrace; the message is the place then.
    :param job: whether Sidekiq wrote it.
    """

    level: str
    message: str
    status: int = 0
    duration: float | None = None
    frame: bool = False
    job: bool = False


class _Shape:
    """A kind of JSON lines: certain keys in a certain order, with values of certain types.

    :param found: what a line of the kind holds. None of them may have a backslash: a text ends at the next quotation
        mark then, so that a pattern can tell.
    :param space: what stands behind each colon and each comma.
    """

    def __init__(self, found: dict[str, Any], space: bytes) -> None:
        # there are few controllers, so that each of their requests can be remembered
        timed = bool(_status(found.get("status"))) and "duration" in found
        self.request = timed and isinstance(found.get("controller"), str)
        wanted = _REQUEST if self.request else _READ
        self.names = [key for key in found if key in wanted]
        self._space = space
        self.entries: dict[object, Entry] = {}
        self.pattern = re.compile(rb"\{" + (b"," + space).join(map(self._part, found, found.values())) + rb"\}")
        self.key = [number for number, name in enumerate(self.names, 1) if name not in {"duration", "tid"}]
        self.duration = self.names.index("duration") + 1 if "duration" in self.names else 0
        self.status = self.names.index("status") + 1 if "status" in self.names else 0

    def _part(self, key: str, value: object) -> bytes:
        pattern = _PATTERNS[type(value)]
        captured = pattern.replace(b"(?:", b"(", 1) if key in self.names else pattern
        return b'"%b":%b%b' % (re.escape(key).encode(), self._space, captured)

    def read(self, match: re.Match[bytes]) -> Entry | None:
        values = (value.decode("utf-8", "replace") for value in match.groups())
        return _entry(dict(zip(self.names, values)), "")


def _shape_of(text: str) -> _Shape | None:
    """The kind of a line; None where a pattern could not tell it."""
    try:
        found, end = _DECODE(text)
    except (ValueError, RecursionError):
        return None
    known = all(type(value) in (_READ.get(key) or _PATTERNS) for key, value in found.items())
    # what has no message is told by all of its keys, of which a pattern reads only some
    known = known and bool({"message", "msg"} & found.keys() or _status(found.get("status")))
    space = b" " if '": ' in text else b""
    return _Shape(found, space) if known and end == len(text) and len(found) <= _MOST_KEYS else None


class Reader:
    """Reads the lines of one log.

    A log has few kinds of JSON lines. One that looks like an earlier one is taken apart by a pattern made of that one,
    which is faster than to decode it.

    :param exact: whether numbers in a message matter; else it may be another one that differs only in them.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self._exact = exact
        self._shapes: dict[bytes, list[_Shape | None]] = {}
        self._latest: _Shape | None = None
        self._remembered = 0

    def read(self, line: bytes) -> tuple[str, Entry, float | None] | None:
        """Read one line; None when nothing is in it.

        :returns: Docker's time of the line, to the second, what it says, and a request's duration in milliseconds.
        """
        stamp = ""
        if line[10:11] == b"T":
            found = _STAMP.match(line)
            if found:
                stamp, line = found[1].decode("ascii"), line[found.end() :]
        if line[:1] == b"{" and b"\\" not in line:
            # most often it is like the one before
            shape = self._latest
            match = shape.pattern.fullmatch(line) if shape else None
            if not match:
                shape, match = self._shape(line)
            if shape and match:
                self._latest = shape
                if shape.request:
                    key = match.group(*shape.key)
                    request = shape.entries.get(key) or self._read(shape, match, key)
                    return request and (stamp, request, float(match[shape.duration]))
                entry = self._said(shape, match)
                return entry and (stamp, entry, entry.duration)
        text = line.decode("utf-8", "replace")
        entry = _json(text, "") if text[:1] == "{" else _plain(text)
        return entry and (stamp, entry, entry.duration)

    def _said(self, shape: _Shape, match: re.Match[bytes]) -> Entry | None:
        if self._exact or shape.duration:
            return shape.read(match)
        said = _ANY_NUMBER.sub(b"#", b'"'.join(map(match.__getitem__, shape.key)))
        # one number tells what failed from what did not
        alike = (said, match[shape.status]) if shape.status else said
        return shape.entries.get(alike) or self._read(shape, match, alike)

    def _read(self, shape: _Shape, match: re.Match[bytes], key: object) -> Entry | None:
        """Take a line apart, and remember it for those that are alike."""
        entry = shape.read(match)
        if entry is not None and len(match[0]) < _SHORT:
            if self._remembered >= _ENTRIES:
                for kind in (item for kinds in self._shapes.values() for item in kinds if item):
                    kind.entries.clear()
                self._remembered = 0
            self._remembered += 1
            shape.entries[key] = entry
        return entry

    def _shape(self, line: bytes) -> tuple[_Shape | None, re.Match[bytes] | None]:
        """The kind of a line and its match; what has no kind yet gives one to those that come after it."""
        first = line[: line.find(b":")]
        shapes = self._shapes.get(first, ())
        for shape in shapes:
            match = shape.pattern.fullmatch(line) if shape else None
            if match:
                return shape, match
        if len(shapes) < _SHAPES and len(self._shapes) < _FIRST_KEYS:
            self._shapes.setdefault(first, []).append(_shape_of(line.decode("utf-8", "replace")))
        return None, None


def _json(text: str, level: str) -> Entry | None:
    try:
        found = _DECODE(text)[0]
    except (ValueError, RecursionError):
        found = {key: match[1] for key, pattern in _BROKEN.items() if (match := pattern.search(text))}
        if not found:
            return Entry(level, text[:LONGEST_MESSAGE])
    return _entry(found, level)


def _entry(found: dict[str, Any], level: str) -> Entry | None:
    get = found.get
    status = get("status")
    if status is not None:
        status = _status(status)
        if status:
            return _request(found, level, status)
    level = _level(get("level") or get("severity") or get("lvl")) or level
    said = get("message")
    if said is None:
        said = get("msg")
    job = "tid" in found
    if isinstance(said, str):
        if said[:1] == "{":
            return _json(said, level)
        return _message(said, level, job=job)
    # it has no message: what it is about is all there is
    return Entry(level, " ".join(map(str, found))[:LONGEST_MESSAGE], job=job)


def _level(given: object) -> str:
    if isinstance(given, str):
        return _LEVELS.get(given) or _LEVELS.get(given.lower(), "")
    if isinstance(given, int):
        # Ruby's numbers go up to 5, those of pino and bunyan from 10
        names = ("debug", "info", "warn", "error", "fatal", "info")
        place = given if 0 <= given < len(names) else given // 10 - 2
        return names[min(max(place, 0), 4)] if place == given or given >= len(names) else ""
    return ""


def _status(given: object) -> int:
    if type(given) is str and given.isascii() and given.isdigit():
        given = int(given[:4])
    return given if type(given) is int and given in _REQUEST_STATUS else 0


def _request(found: dict[str, Any], level: str, status: int) -> Entry:
    get = found.get
    method, controller, action, duration = get("method"), get("controller"), get("action"), get("duration")
    if isinstance(controller, str):
        message = f"{method} {controller}#{action}"
    else:
        message = f"{method} {str(get('path') or get('uri') or '').partition('?')[0]}"
    if status >= 500:  # noqa: PLR2004 - as HTTP has it
        error = get("error") or get("exception") or ""
        if error:
            message += f" {': '.join(map(str, error)) if isinstance(error, list) else error}"
    if type(duration) is str:
        duration = _milliseconds(duration)
    elif not (type(duration) is float or type(duration) is int):
        duration = None
    return Entry(level, message[:LONGEST_MESSAGE], status, duration)


def _message(said: str, level: str, *, job: bool) -> Entry | None:
    """A message that may have several lines: the first one counts, and where in the code it came from."""
    if "\x1b" in said:
        said = _ANSI.sub("", said)
    said = said[:LONGEST].strip()
    if not said:
        return None
    first, _, rest = said.partition("\n")
    frame = _FRAME.match(first)
    if frame:
        return Entry(level, _place(frame), frame=True, job=job)
    first = first[:LONGEST_MESSAGE]
    for line in rest.split("\n", _SHOWN_FRAMES)[:_SHOWN_FRAMES] if rest else ():
        frame = _FRAME.match(line)
        if frame:
            return Entry(level, raised(first, _place(frame)), job=job)
    return Entry(level, first, job=job)


def _place(frame: re.Match[str]) -> str:
    return f"{frame['file']} {frame['method'] or ''}".strip()


def raised(message: str, place: str) -> str:
    """An error with the place that it came from."""
    return f"{message.rstrip(': ')} at {place}"


def _plain(text: str) -> Entry | None:
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    level, job = "", False
    for pattern in _PREFIXES:
        found = pattern.match(text)
        if found:
            level, job = _LEVELS.get(found["level"].lower(), ""), pattern is _SIDEKIQ
            text = text[found.end() :]
            break
    tags = _TAGS.match(text)
    if tags:
        text = text[tags.end() :]
    if text[:1] == "{":
        return _json(text, level)
    return _plain_request(text, level) or _message(text, level, job=job)


def _plain_request(text: str, level: str) -> Entry | None:
    """The end of a request: as Rails, lograge or a web server writes it."""
    found = _COMPLETED.match(text)
    if found:
        return Entry(level, found[2], _status(found[1]), _milliseconds(found[3]))
    found = _LOGRAGE.match(text)
    if found:
        pairs: dict[str, Any] = {key: value.strip("'") for key, value in _PAIRS.findall(found[3][:LONGEST_MESSAGE])}
        pairs.update(method=found[1], path=found[2], duration=_milliseconds(pairs.get("duration", "")))
        status = _status(pairs.get("status"))
        return _request(pairs, level, status) if status else None
    found = _ACCESS.match(text)
    if found and _status(found[3]):
        return Entry(level, f"{found[1]} {found[2].partition('?')[0]}", _status(found[3]))
    return None


def _milliseconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
