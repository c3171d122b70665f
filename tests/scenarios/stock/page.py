"""A page of the documentation as somebody follows it: what is to be typed and what goes into files, in its order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """A part of the page.

    :param commands: what is to be typed, without the remarks beside it.
    :param blocks: what stands between fences.
    """

    title: str
    commands: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)


def sections(page: Path) -> list[Section]:
    """Read a page."""
    found: list[Section] = [Section("")]
    block: list[str] | None = None
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            if block is not None:
                found[-1].blocks.append("\n".join(block) + "\n")
            block = [] if block is None else None
        elif block is not None:
            block.append(line)
        elif line.startswith("## "):
            found.append(Section(line.removeprefix("## ")))
        elif line.startswith("    "):
            found[-1].commands.append(re.sub(r"\s{2,}#.*", "", line.strip()))
    return found[1:]
