# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit's XML, which test runners of every language write. A file is somebody else's: no DTD, no entity is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.parsers import expat

from ansible_collections.slipway.release.plugins.module_utils._evidence import EvidenceError

SIZE_LIMIT = 50_000_000
_NAMED = 3
_WIDTH = 100
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BAD = frozenset(("failure", "error"))


@dataclass(frozen=True)
class Suite:
    """What one file says.

    :param tests: how many test cases it has.
    :param failures: how many failed; where none did, how many suites say so nevertheless.
    :param failed: the names of some of them.
    :param commit: what its property `commit` says; None when it has none.
    """

    tests: int
    skipped: int
    failures: int
    failed: tuple[str, ...]
    commit: str | None


def read_junit(content: bytes) -> Suite:
    """Read a file's content.

    :raises EvidenceError: it is no JUnit; the message is one line.
    """
    if len(content) > SIZE_LIMIT:
        raise EvidenceError(f"is larger than {SIZE_LIMIT // 1_000_000} MB")
    seen = _Seen()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler, parser.EndElementHandler = seen.begin, seen.end
    try:
        parser.Parse(content, True)  # noqa: FBT003 - expat takes no names
    except expat.ExpatError as error:
        raise EvidenceError(f"is no XML ({error})") from None
    except (ValueError, LookupError) as error:
        raise EvidenceError(f"is in an encoding that cannot be read ({error})") from None
    if len(seen.commits) > 1:
        raise EvidenceError(f"has the property commit with {len(seen.commits)} values")
    commit = next(iter(seen.commits), None)
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise EvidenceError("has a property commit that is no full commit id")
    # a suite counts the failures of its cases, or has one of its own
    failed = seen.failed_cases or seen.failed_suites
    return Suite(seen.tests, seen.skipped, len(failed), tuple(map(_shown, failed[:_NAMED])), commit)


def _refuse_doctype(*_arguments: object) -> None:
    raise EvidenceError("has a DTD, which no test runner writes: it is not read")


def _shown(name: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())[:_WIDTH]


class _Seen:
    """What was met on the way through a file."""

    def __init__(self) -> None:
        self.tests = self.skipped = 0
        self.failed_cases: list[str] = []
        self.failed_suites: list[str] = []
        self.commits: set[str] = set()
        self._depth = 0
        self._case: str | None = None
        self._marks: set[str] = set()

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if self._depth == 0 and name not in {"testsuites", "testsuite"}:
            raise EvidenceError("is no JUnit: it begins neither with testsuites nor with testsuite")
        self._depth += 1
        if name == "testcase":
            self.tests += 1
            self._case = ".".join(filter(None, (attributes.get("classname"), attributes.get("name"))))
            self._marks = set()
        elif name in _BAD and self._case is None:
            self.failed_suites.append("a suite")
        elif name in _BAD or name == "skipped":
            self._mark("skipped" if name == "skipped" else "bad")
        elif name == "property" and attributes.get("name") == "commit":
            self.commits.add(attributes.get("value", "").strip())
        if name in {"testsuites", "testsuite"} and any(_counts(attributes, key) for key in ("failures", "errors")):
            self.failed_suites.append(attributes.get("name") or "a suite")

    def end(self, name: str) -> None:
        """An element ends."""
        self._depth -= 1
        if name == "testcase":
            self._case = None

    def _mark(self, mark: str) -> None:
        """Note something of the case once."""
        if self._case is None or mark in self._marks:
            return
        self._marks.add(mark)
        if mark == "bad":
            self.failed_cases.append(self._case)
        else:
            self.skipped += 1


def _counts(attributes: dict[str, str], key: str) -> bool:
    return attributes.get(key, "").strip() not in {"", "0"}
