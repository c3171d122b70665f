# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what a service logged by signature: what is said, without what differs from one time to the next.

It reads blocks as they come and needs little memory, however much there is and whoever wrote it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._log_lines import LONGEST, LONGEST_MESSAGE, Entry, Reader, raised
from ._scrub import HIDDEN, scrubbed

if TYPE_CHECKING:
    from ._profile import Logs

# So many signatures of errors are told apart, and so many of the rest.
MOST, OTHER = 1000, "other"
LONGEST_TEXT, LONGEST_SAMPLE = 160, 300
# Characters of a message that count; of those that looked alike the signature is remembered.
_KEY, _REMEMBERED = 300, 20_000
# A stamp cut off here names ten minutes; a day has 144.
_TEN_MINUTES, _MOST_BLOCKS = 15, 1000
# Durations are counted in steps of 5 %.
_STEP, _SLOWEST = math.log(1.05), 1e8
_WORST, _BAD = 500, frozenset({"error", "fatal"})

_ANY_NUMBER = re.compile(r"\d[\w.:-]*")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z_-]*\d[\w-]*(?:[.:]{1,2}\d[\w-]*)*", re.ASCII)
# Names of the code's own and of the schema's tell errors apart; anything else in quotes is somebody's data.
_NAMED = r"((?:method|variable|constant|attribute|column|relation|table|function|constraint) )?"
_QUOTED = re.compile(_NAMED + r"(\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|`[^'`]*['`])")
_TAIL = re.compile(r", client: .*", re.DOTALL)
_EXCEPTION = re.compile(
    r"#?<?(?:(?:(?:[A-Z]\w*::)+|[A-Z])\w*(?:Error|Exception|Invalid|Timeout|Denied|NotFound|NotUnique|Failure|Exceeded)"
    r"|Errno::[A-Z]\w*)(?:[ :>(]|$)|Error performing [A-Z]"
)
# What outsiders can cause, and Rails or nginx answers with 4xx.
_FROM_OUTSIDE = re.compile(
    r"ActionController::(?:RoutingError|BadRequest|UnknownFormat|UnknownHttpMethod|ParameterMissing|Invalid\w+"
    r"|MethodNotAllowed|NotImplemented|MissingExactTemplate)|AbstractController::ActionNotFound"
    r"|ActiveRecord::RecordNotFound|ActionDispatch::Http::|Mime::Type::Invalid|Rack::(?:QueryParser|Multipart|Utils)::"
    r"|No route matches|Blocked hosts?:|HTTP parse error|Invalid request"
    r"|failed \(2: No such file|access forbidden|directory index of|client intended to send|client sent "
)
_VALUE = r"(\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s,;&\"'}\])]+)"
_SECRETS = (
    (re.compile(r"(?i)((?:set-)?cookie|authori[sz]ation)([\"']?\s*(?:=>|[:=])\s*[\"']?)[^\"']*"), rf"\1\2{HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:passw|passphrase|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|session_?id"
            rf"|csrf|otp|pwd)[\w.\[\]-]{{0,60}}[\"']?\s{{0,3}}(?:=>|[:=])\s{{0,3}}){_VALUE}"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic|token) [\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^/\s@]+@"), f"://{HIDDEN}@"),
    (re.compile(r"\?[\w\[\]%.-]{1,100}=[^\s\"']*"), f"?{HIDDEN}"),
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.-]+"), HIDDEN),
    (re.compile(r"(?<![\w+=-])(?=[A-Za-z_+=-]*\d)[\w+=-]{20,}"), HIDDEN),
)


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """A text without known secrets, and without what looks like one."""
    text = scrubbed(text, secrets)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return "".join(letter if letter.isprintable() else " " for letter in text)


def unquoted(text: str) -> str:
    """A text without what stands in quotes, unless it is a name of the code's own or of the schema's."""
    return _QUOTED.sub(lambda found: found[0] if found[1] else '"#"', text)


def masked(text: str) -> str:
    """A text without numbers, ids, times, addresses, and what stands in quotes."""
    text = unquoted(_TAIL.sub("", text))
    return " ".join(_NUMBER.sub("#", text).split())[:LONGEST_TEXT]


def bucket(milliseconds: float) -> int:
    """The step of a duration; what makes no sense is the first one."""
    return int(math.log(milliseconds) / _STEP) if 1 < milliseconds < _SLOWEST else 0


def quantile(counts: dict[int, int], share: float) -> int:
    """The step up to which `share` of all durations lie."""
    left = share * sum(counts.values())
    for step in sorted(counts):
        left -= counts[step]
        if left <= 0:
            return step
    return 0


def milliseconds(step: int) -> float:
    """The upper end of a step."""
    return math.exp((step + 1) * _STEP)


@dataclass
class Signature:
    """What was said, and how often.

    :param level: as the line has it; of a request, its status.
    :param error: whether it counts as an error.
    :param first: Docker's time of the first line, and `last` of the latest.
    :param sample: one of the lines, without secrets.
    :param blocks: of an error, how often it was said in each ten minutes.
    """

    level: str
    text: str
    error: bool
    first: str
    sample: str
    last: str = ""
    count: int = 0
    blocks: dict[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A short name for it."""
        return hashlib.sha256(f"{self.level} {self.text}".encode()).hexdigest()[:12]


@dataclass
class Block:
    """Ten minutes of a log."""

    lines: int = 0
    errors: int = 0
    requests: int = 0
    failed: int = 0
    durations: dict[int, int] = field(default_factory=dict)

    @property
    def said(self) -> int:
        """All that was said in it."""
        return self.lines + self.requests


class Log:
    """What one service logged.

    :param rules: what the profile says about errors.
    :param secrets: texts that appear in no signature and no sample.
    """

    def __init__(self, rules: Logs, secrets: Collection[str] = ()) -> None:
        self._rules, self._secrets = rules, secrets
        self.blocks: dict[str, Block] = {}
        self._block, self._name = Block(), ""
        self._found: dict[tuple[bool, str, str], Signature] = {}
        self._room = {True: MOST, False: MOST}
        self._requests: dict[tuple[Any, ...], Signature] = {}
        self._lines: dict[tuple[Any, ...], Signature] = {}
        self._longest_secret = max(map(len, self._secrets), default=1)
        self._ruled = bool(rules.errors or rules.ignore)
        self._read = Reader(exact=self._ruled).read
        self._rest = b""
        self._open: tuple[str, Entry] | None = None

    def feed(self, block: bytes) -> None:
        """Read some more of it, as much as there is."""
        head, *lines = block.split(b"\n")
        # of a line that does not end only its beginning is kept
        self._rest += head[: max(0, LONGEST - len(self._rest))]
        if not lines:
            return
        self._line(self._rest)
        self._rest = lines.pop()[:LONGEST]
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Nothing more comes of the stream that was fed; another one may follow."""
        self._line(self._rest)
        self._rest = b""
        if self._open is not None:
            self._joined(self._open[1])

    def _line(self, line: bytes) -> None:
        found = self._read(line[:LONGEST])
        if found is None:
            return
        stamp, entry, duration = found
        if self._open is not None and self._joined(entry):
            return
        if stamp[:_TEN_MINUTES] != self._name or not self.blocks:
            self._turn(stamp[:_TEN_MINUTES])
        if entry.status:
            self._request(stamp, entry, duration)
        elif entry.level in _BAD or _EXCEPTION.match(entry.message):
            # the line after it may say where it came from
            self._open = stamp, entry
        elif not entry.frame:
            self._said(stamp, entry)

    def _joined(self, entry: Entry) -> bool:
        """Whether a line belongs to the error before it, which is counted in any case."""
        stamp, error = self._open or ("", entry)
        self._open = None
        if entry.frame:
            error = error._replace(message=raised(error.message, entry.message))
        self._said(stamp, error)
        return entry.frame

    def _request(self, stamp: str, entry: Entry, duration: float | None) -> None:
        # its message is its endpoint, which most often has no number in it
        key = (entry.message, entry.status)
        signature = self._requests.get(key) or self._remember(self._requests, key, entry, stamp)
        signature.count += 1
        signature.last = stamp
        if signature.error:
            self._place(signature)
        block = self._block
        block.requests += 1
        block.failed += signature.error
        if duration is not None:
            step = bucket(duration)
            block.durations[step] = block.durations.get(step, 0) + 1

    def _said(self, stamp: str, entry: Entry) -> None:
        message = entry.message
        decided = self._decided(message) if self._ruled else None
        key = (entry.level, _ANY_NUMBER.sub("#", message[:_KEY]), entry.job, decided)
        signature = self._lines.get(key) or self._remember(self._lines, key, entry, stamp)
        signature.count += 1
        signature.last = stamp
        if signature.error:
            self._place(signature)
        self._block.lines += 1
        self._block.errors += signature.error

    def _place(self, signature: Signature) -> None:
        """Note in which ten minutes an error was said."""
        if self._name in self.blocks:
            signature.blocks[self._name] = signature.blocks.get(self._name, 0) + 1

    def _turn(self, name: str) -> None:
        if len(self.blocks) < _MOST_BLOCKS:
            self._block = self.blocks.setdefault(name, Block())
        self._name = name

    def _decided(self, message: str) -> bool | None:
        """What the profile's own patterns say; None when they say nothing."""
        if any(pattern.search(message) for pattern in self._rules.ignore):
            return False
        return True if any(pattern.search(message) for pattern in self._rules.errors) else None

    def _is_error(self, entry: Entry) -> bool:
        decided = self._decided(f"{entry.status} {entry.message}" if entry.status else entry.message)
        if entry.status:
            return entry.status >= _WORST and decided is not False
        if decided is not None:
            return decided
        if not entry.job and _FROM_OUTSIDE.search(entry.message):
            return False
        if entry.level in _BAD:
            return True
        return entry.level in {"", "warn"} and _EXCEPTION.match(entry.message) is not None

    def _remember(
        self, remembered: dict[tuple[Any, ...], Signature], key: tuple[Any, ...], entry: Entry, stamp: str
    ) -> Signature:
        """The signature of what was not seen yet in these very words."""
        error = self._is_error(entry)
        clean = without_secrets(entry.message, self._secrets)
        if len(entry.message) >= LONGEST_MESSAGE:
            # it was cut, perhaps in the middle of a secret
            clean = clean[: -self._longest_secret]
        level, text = str(entry.status or entry.level), masked(clean[:_KEY])
        signature = self._found.get((error, level, text))
        if signature is None and not self._room[error]:
            level, text = "", OTHER
            signature = self._found.get((error, level, text))
        if signature is None:
            sample = "" if text == OTHER else clean[:LONGEST_SAMPLE]
            signature = Signature(level, text, error, stamp, sample)
            self._found[error, level, text] = signature
            self._room[error] -= text != OTHER
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        remembered[key] = signature
        return signature

    @property
    def signatures(self) -> list[Signature]:
        """What was said, the most frequent first."""
        return sorted(self._found.values(), key=lambda item: (-item.count, item.text))

    @property
    def errors(self) -> list[Signature]:
        """The signatures that count as errors."""
        return [item for item in self.signatures if item.error]

    @property
    def durations(self) -> dict[int, int]:
        """How many requests took how long, by step."""
        together: dict[int, int] = {}
        for block in self.blocks.values():
            for step, count in block.durations.items():
                together[step] = together.get(step, 0) + count
        return together

    def counts(self) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Events and trials of each ten minutes: errors among all that was said, and failures of the requests.

        Requests are among the trials of both: where little else is logged, nearly each other line is an error.
        """
        blocks = [self.blocks[name] for name in sorted(self.blocks)]
        yield "", [(item.errors, item.said) for item in blocks]
        if any(item.requests for item in blocks):
            yield " requests", [(item.failed, item.requests) for item in blocks]

    def counts_of(self, signature: Signature) -> list[tuple[int, int]]:
        """Events and trials of each ten minutes: one error among all that was said."""
        return [(signature.blocks.get(name, 0), self.blocks[name].said) for name in sorted(self.blocks)]

    def slower(self, step: int) -> list[tuple[int, int]]:
        """How many requests of each ten minutes took longer than a step, of how many."""
        return [_above(self.blocks[name].durations.items(), step) for name in sorted(self.blocks)]


def _above(counts: Iterable[tuple[int, int]], step: int) -> tuple[int, int]:
    slow = total = 0
    for at, count in counts:
        total += count
        slow += count if at > step else 0
    return slow, total
