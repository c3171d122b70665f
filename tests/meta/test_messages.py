"""Every message that the troubleshooting page quotes is one that can appear."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/troubleshooting.md"
DIFFERS = "\0"  # stands for a value in a message of the source
# Of a quoted message: a word in capitals, with its quotes, or what was left out.
PLACEHOLDER = re.compile(r"'?(?<![\w-])[A-Z]+(?![\w-])'?|\.\.\.")
LEAST = 12  # characters of fixed text, below which a quotation would be found anywhere


def said_in_python(path: Path) -> Iterator[str]:
    """The texts of a module; its documentation is none."""
    tree = ast.parse(path.read_text())
    spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in spoken:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(item.value) if isinstance(item, ast.Constant) else DIFFERS for item in node.values)


def said_in_yaml(value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever YAML holds
    """The texts of tasks, and those within their expressions."""
    if isinstance(value, dict):
        for item in value.values():
            yield from said_in_yaml(item)
    elif isinstance(value, list):
        for item in value:
            yield from said_in_yaml(item)
    elif isinstance(value, str):
        yield re.sub(r"{{.*?}}", DIFFERS, value, flags=re.DOTALL)
        yield from re.findall(r"'([^']*)'", re.sub(r"'\s*~[^'~]*~\s*'", DIFFERS, value))


@cache
def sources() -> list[str]:
    code = [path for part in ("module_utils", "plugin_utils", "action", "callback") for path in plugins(part)]
    tasks = [path for pattern in ("roles/*/tasks/*.yml", "playbooks/*.yml") for path in ROOT.glob(pattern)]
    found = [text for path in code for text in said_in_python(path)]
    return found + [text for path in tasks for text in said_in_yaml(yaml.safe_load(path.read_text()))]


def plugins(part: str) -> list[Path]:
    return [path for path in (ROOT / "plugins" / part).glob("*.py") if not path.is_symlink()]


def quoted() -> list[str]:
    """What stands as code in the first column of the page's tables."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def is_said(message: str) -> bool:
    """Whether some text of the source is the message, or is when values are put in."""
    if any(message in text for text in sources()):
        return True
    fixed = [text for text in PLACEHOLDER.split(message) if text.strip()]
    assert sum(map(len, fixed)) >= LEAST, f"{message!r} says too little to be found"
    pattern = re.compile(".+?".join(map(re.escape, fixed)), re.DOTALL)
    return any(pattern.search(text) for text in sources())


def test_every_message_on_the_page_is_in_the_source() -> None:
    messages = quoted()
    assert len(messages) > 50
    assert [message for message in messages if not is_said(message)] == []


def test_every_row_quotes_a_message() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| --- ")]
    assert [row for row in rows if not row.startswith(("| message |", "| `"))] == []


@pytest.mark.parametrize(
    "message", ["the Docker engine never answers (REASON)", "nothing of the kind is said anywhere"]
)
def test_a_message_that_nobody_says_is_found_out(message: str) -> None:
    assert not is_said(message)
