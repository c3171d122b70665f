"""What the pages tell people to type, and a reader who types it as it stands.

An indented block is what somebody types, and so is a fence of `sh`; whatever else stands apart from the text is in a
fence of another language. A command that was typed is noted with the test that typed it: `scripts/coverage --check`
asks for every one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "inventory/README.md"]
# tests write the page of coverage
PAGES += [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "coverage.md"]
PAGES += [f"examples/{path.parent.name}/README.md" for path in sorted((ROOT / "examples").glob("*/README.md"))]

# what no test of `make test` can type, and the file that executes it
ELSEWHERE = {
    "make test": "Makefile",
    "make demo": "scripts/demo",
    "make lab-down && bench/backup": "bench/backup",
    "make lab-down && make bench": "bench/__main__.py",
    "make bench ONLY=judge,logs": "bench/__main__.py",
    (
        "DOCKER_BUILDKIT=1 docker build --secret id=apt_sources,src=FILE"
        " --tag swarm-ruby:3.3 examples/swarm/images/ruby"
    ): "lab/images.py",
    "python -m lab up site1 --stock": "molecule/shared/create.yml",
}

SHELL = ("bash", "-eo", "pipefail", "-c")
_notes: list[tuple[str, object]] = []


@dataclass(frozen=True)
class Section:
    """A part of a page.

    :param typed: what is to be typed, block by block, without the remarks beside it.
    :param blocks: what stands between other fences, beside their language.
    """

    title: str
    typed: list[list[str]] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """What is to be typed."""
        return [command for block in self.typed for command in block]


def sections(page: str) -> list[Section]:
    """Read a page; the first section is what stands above all headings."""
    found: list[Section] = [Section("")]
    fence: str | None = None
    block: list[str] = []
    before = ""
    for line in [*(ROOT / page).read_text().splitlines(), ""]:
        ends = line.startswith("```") if fence is not None else not line.startswith("    ")
        if not ends and (block or fence is not None or not before):
            block.append(line)
        elif ends and fence not in {None, "sh"}:
            found[-1].blocks.append((str(fence), "\n".join(block) + "\n"))
        elif ends and block:
            found[-1].typed.append(_commands(block))
        if ends:
            fence, block = line.removeprefix("```") if line.startswith("```") and fence is None else None, []
            if line.startswith("## "):
                found.append(Section(line.removeprefix("## ")))
        before = line
    return found


def _commands(lines: list[str]) -> list[str]:
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()
    found = [re.sub(r"(^|\s{2,})#.*", "", line.strip()) for line in joined]
    return [command for command in found if command]


def commands() -> dict[str, list[str]]:
    """What is to be typed, by the page."""
    return {page: [command for section in sections(page) for command in section.commands] for page in PAGES}


def note_for(properties: list[tuple[str, object]]) -> None:
    """Note in these properties of a test what is typed from now on."""
    global _notes  # noqa: PLW0603 - one test runs at a time, and fixtures of a module do not know which
    _notes = properties


def typed(
    page: str,
    begins: str,
    *more: str,
    block: bool = False,
    given: Mapping[str, str] | None = None,
    fails: bool = False,
    directory: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    through: tuple[str, ...] = SHELL,
    keys: str = "",
) -> str:
    """Type a command of a page, and return what was printed.

    :param begins: the command, or what it alone on the page begins with.
    :param more: arguments that this host needs besides.
    :param block: type the whole block that the command is in.
    :param given: what a reader fills in, by what stands on the page.
    :param fails: it is right that it fails.
    :param through: what takes the text as its last argument; elsewhere, through `docker exec`.
    :param keys: what is typed into it then.
    """
    blocks = [block for section in sections(page) for block in section.typed]
    every = {command for each in blocks for command in each}
    meant = {begins} & every or {command for command in every if command.startswith(begins)}
    assert len(meant) == 1, f"{page}: {begins} is the beginning of {sorted(meant)}"
    (command,) = meant
    what = next(each for each in blocks if command in each) if block else [command]
    text = " ".join(["\n".join(what), *more])
    for name, value in (given or {}).items():
        text = text.replace(name, value)
    return execute(what, text, fails=fails, directory=directory, environment=environment, through=through, keys=keys)


def execute(
    what: list[str],
    text: str,
    *,
    fails: bool,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    through: tuple[str, ...] = SHELL,
    keys: str = "",
) -> str:
    """Execute a text that was made of commands, note them, and return what was printed."""
    # as after the tutorial's first two commands
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*through, text],
        cwd=directory,
        env={**os.environ, "PATH": path, "ANSIBLE_FORCE_COLOR": "false", **(environment or {})},
        input=keys,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
        # whoever asks for a password asks here
        start_new_session=True,
    )
    assert (done.returncode != 0) == fails, f"{text}\n{done.stdout}"
    assert "Traceback" not in done.stdout
    _notes.extend(("command", command) for command in what)
    return done.stdout
