# SPDX-License-Identifier: GPL-3.0-or-later
"""A release's notes for customers, as Markdown and as plain text. What a customer has to do comes first."""

from __future__ import annotations

import re
import textwrap

from ansible_collections.slipway.release.plugins.module_utils._changelog import CustomerNotes

WIDTH = 72
TITLES = (
    ("action_required", "What you have to do"),
    ("breaking", "What no longer works as before"),
    ("new", "What is new"),
    ("fixed", "What was mended"),
    ("known_issues", "What is known not to work yet"),
)
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]*)\)")
_MARKS = re.compile(r"\*\*|`")


def parts(notes: CustomerNotes) -> list[tuple[str, tuple[str, ...]]]:
    """Each title with its items, as Markdown; what has none is left out."""
    found = [(title, getattr(notes, name)) for name, title in TITLES]
    return [(title, items) for title, items in found if items]


def heading(product: str, notes: CustomerNotes) -> str:
    """What the notes are about, in one line."""
    return f"{product} {notes.version} of {notes.date}"


def as_markdown(product: str, notes: CustomerNotes) -> str:
    """The notes as Markdown."""
    blocks = [f"# {heading(product, notes)}"]
    for title, items in parts(notes):
        blocks += [f"## {title}", "\n".join(f"- {item}" for item in items)]
    return "\n\n".join(blocks) + "\n"


def as_text(product: str, notes: CustomerNotes) -> str:
    """The notes as plain text of at most WIDTH columns, where words are short enough."""
    blocks = [heading(product, notes)]
    for title, items in parts(notes):
        lines = (
            textwrap.fill(
                plain(item),
                WIDTH,
                initial_indent="- ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            for item in items
        )
        blocks.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(blocks) + "\n"


def plain(item: str) -> str:
    """An item without its Markdown: a link is followed by its address."""
    return _MARKS.sub("", _LINK.sub(r"\1 (\2)", item))
