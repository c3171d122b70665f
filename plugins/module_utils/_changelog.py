# SPDX-License-Identifier: GPL-3.0-or-later
"""An application's changelog in the format of Keep a Changelog, and what customers are told of a release.

A changelog is somebody else's file: whatever it holds, reading it ends with Notes or a ChangelogError of one line.

    ## [1.1.0] - 2026-11-20

    ### Added
    - Campaigns have a priority.
    - **Action required:** allow port 8443.

    ### Breaking
    - /api/v1 is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ._errors import SlipwayError

# Bytes of a changelog; one of ten years has a tenth.
SIZE_LIMIT = 1_000_000
# Where an item stands that comes before the first heading of its entry.
CHANGED = "Changed"
ACTION_REQUIRED, BREAKING = "Action required", "Breaking"
# What customers are told of, by the heading that it stands below; any other heading is for developers.
_NEW, _BREAKING, _FIXED = {"added", "changed"}, {"breaking", "removed"}, {"fixed", "security"}
_KNOWN_ISSUES = {"known"}
_ENTRY = re.compile(r"##[ \t]+\[?[vV]?(?P<version>[0-9A-Za-z][0-9A-Za-z._+-]*)\]?(?:\([^()]*\))?(?P<rest>.*)")
_DATE = re.compile(r"[ \t]+[-\u2013\u2014][ \t]+(\d{4}-\d{2}-\d{2})(?![0-9])")
_SECTION = re.compile(r"###[ \t]+(.*)")
_ITEM = re.compile(r"[ \t]*[-*+][ \t]+(.*)")
_LINK = re.compile(r"\[[^\]]*\]:[ \t]*\S")
_FENCES = ("```", "~~~")
_LABEL = re.compile(
    r"\*\*[ \t]*(?P<label>action required|breaking)[ \t]*(?::[ \t]*\*\*|\*\*[ \t]*:)[ \t]*", re.IGNORECASE
)
_UNRELEASED = "unreleased"


class ChangelogError(SlipwayError):
    """A changelog that has no usable entry for a release; the text says how to mend it."""


@dataclass(frozen=True)
class Notes:
    """The entry of one release.

    :param version: as its heading has it, without a leading v.
    :param date: the day in its heading, ISO 8601.
    :param sections: the items below each heading, in the order of the file; each is one line.
    """

    version: str
    date: str
    sections: Mapping[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        sections = {heading: list(items) for heading, items in self.sections.items()}
        return {"version": self.version, "date": self.date, "sections": sections}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Notes:
        """Read what `to_dict` wrote."""
        sections = {str(heading): tuple(map(str, items)) for heading, items in mapping["sections"].items()}
        return cls(str(mapping["version"]), str(mapping["date"]), sections)


@dataclass(frozen=True)
class CustomerNotes:
    """What customers are told of a release: items of one line each, Markdown as in the changelog.

    :param new: what was added or changed.
    :param breaking: what no longer works as it did.
    :param action_required: what the customer has to do.
    :param fixed: what was mended.
    :param known_issues: what is known not to work yet.
    """

    version: str
    date: str
    new: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()
    action_required: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    known_issues: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.new or self.breaking or self.action_required or self.fixed)


def parse(text: str, version: str | None = None) -> Notes:
    """Read the entry of a release.

    :param version: its version, with or without a leading v; the first release in the file when None.
    :raises ChangelogError: there is no such entry, or it is empty, undated or withdrawn.
    """
    if len(text) > SIZE_LIMIT:
        raise ChangelogError(f"the changelog is larger than {SIZE_LIMIT // 1_000_000} MB, which none is")
    wanted = None if version is None else _bare(version)
    shown = wanted or "1.1.0"
    found = next(
        (
            (heading, body)
            for heading, body in _entries(text)
            if heading["version"].lower() != _UNRELEASED and wanted in {None, heading["version"]}
        ),
        None,
    )
    if found is None:
        raise ChangelogError(
            f"the changelog has no entry for {wanted or 'any release'}: write '## [{shown}] - 2026-11-20' and below it "
            "what is new"
        )
    heading, body = found
    name, rest = heading["version"], heading["rest"]
    if "[yanked]" in rest.lower():
        raise ChangelogError(f"the changelog says that {name} is withdrawn ([YANKED]): deploy another release")
    day = _DATE.match(rest)
    if day is None or not _is_day(day[1]):
        raise ChangelogError(f"the changelog's entry for {name} has no date: write '## [{name}] - 2026-11-20'")
    sections = _sections(body)
    if not sections:
        raise ChangelogError(f"the changelog's entry for {name} is empty: write below its heading what is new")
    return Notes(name, day[1], sections)


def customer_notes(notes: Notes) -> CustomerNotes:
    """Pick out what concerns customers. The labels `**Action required:**` and `**Breaking:**` go before the heading."""
    kinds = ("new", "breaking", "action_required", "fixed", "known_issues")
    picked: dict[str, list[str]] = {kind: [] for kind in kinds}
    for heading, items in notes.sections.items():
        for item in items:
            label = _LABEL.match(item)
            kind, told = _kind(label["label"] if label else heading), item[label.end() :] if label else item
            if kind is not None and told:
                picked[kind].append(told)
    return CustomerNotes(notes.version, notes.date, **{kind: tuple(items) for kind, items in picked.items()})


def _kind(heading: str) -> str | None:
    name = heading.lower()
    if name == ACTION_REQUIRED.lower():
        return "action_required"
    told = (("breaking", _BREAKING), ("new", _NEW), ("fixed", _FIXED), ("known_issues", _KNOWN_ISSUES))
    return next((kind for kind, names in told if name.split(" ")[0] in names), None)


def _bare(version: str) -> str:
    return version[1:] if version[:1] in {"v", "V"} else version


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _entries(text: str) -> Iterator[tuple[re.Match[str], list[tuple[str, bool]]]]:
    """Each entry's heading and its lines."""
    heading: re.Match[str] | None = None
    body: list[tuple[str, bool]] = []
    for line, is_code in _lines(text):
        if is_code or not line.startswith(("# ", "## ")):
            body.append((line, is_code))
            continue
        if heading:
            yield heading, body
        heading, body = _ENTRY.match(line), []
    if heading:
        yield heading, body


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line and whether it is in a block of code; the fences themselves are left out."""
    fence: str | None = None
    for line in _without_comments(text).splitlines():
        mark = line.strip()[:3]
        if mark in _FENCES and fence in {None, mark}:
            fence = None if fence else mark
        else:
            yield line, fence is not None


def _without_comments(text: str) -> str:
    """The text without HTML comments; one that does not end reaches to the end."""
    kept, rest = [], text
    while True:
        before, begun, rest = rest.partition("<!--")
        kept.append(before)
        if not begun:
            return "".join(kept)
        rest = rest.partition("-->")[2]


def _sections(lines: list[tuple[str, bool]]) -> dict[str, tuple[str, ...]]:
    """The items below each heading; a paragraph is an item too, and what has no heading counts as a change."""
    found: dict[str, list[list[str]]] = {}
    item: list[str] = []
    heading, apart = CHANGED, True
    for line, is_code in lines:
        section, bullet = (None, None) if is_code else (_SECTION.match(line), _ITEM.match(line))
        if section:
            heading, apart, item = _clean(section[1]) or CHANGED, True, []
        elif not line.strip():
            apart = apart or not is_code
        elif not is_code and _LINK.match(line):
            continue
        elif item and not bullet and (not apart or line[0] in " \t"):
            item.append(line)
            apart = False
        else:
            item, apart = [bullet[1] if bullet else line], False
            found.setdefault(heading, []).append(item)
    cleaned = {name: tuple(filter(None, (_clean(" ".join(item)) for item in items))) for name, items in found.items()}
    return {name: items for name, items in cleaned.items() if items}


def _clean(text: str) -> str:
    """A text of one line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
