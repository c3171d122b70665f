"""What the pages tell people to type can be typed: playbooks, targets, options, inventories and variables exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI
from ansible.parsing.splitter import parse_kv
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile

from tests import typed
from tests.typed import ROOT

PAGES = [ROOT / name for name in (*typed.PAGES, "CONTRIBUTING.md", "lab/README.md")]
# A command ends where the line's code or the command itself ends.
PLAYBOOK = re.compile(r"(?<![\w-])ansible-playbook(?= +[^\s|`]*\.yml)([^`|]*)")
WORD = r"(?:[a-z-]+|[A-Z]+=[^\s`]+)"
MAKE = re.compile(rf"(?:^ {{4}}|`|&& )make ({WORD}(?: {WORD})*)(?=`|\s*$|\s+#|\s+&&|\s{{2,}})")
COMMENT = re.compile(r"\s(?:#|\().*")  # and what the inventories' page says beside it
LEFT_OUT = "..."


def code_of(page: Path) -> Iterator[str]:
    """The lines of a page, those that end with a backslash joined."""
    yield from re.sub(r"\s*\\\n\s*", " ", page.read_text()).splitlines()


def playbook_commands() -> list[Any]:
    found = [
        pytest.param(shlex.split(COMMENT.sub("", arguments)), id=f"{page.name}:{COMMENT.sub('', arguments).strip()}")
        for page in PAGES
        for line in code_of(page)
        for arguments in PLAYBOOK.findall(line)
    ]
    assert len(found) > 40
    return found


def make_commands() -> list[tuple[str, str]]:
    found = [(page.name, words) for page in PAGES for line in code_of(page) for words in MAKE.findall(line)]
    assert len(found) > 20
    return found


@cache
def documented_variables() -> set[str]:
    """What roles take, and what the inventories define or ask for."""
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        entries = yaml.safe_load(path.read_text())["argument_specs"].values()
        found.update(*(entry["options"] for entry in entries))
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        found.update(yaml.safe_load(path.read_text()) or {})
    for path in ROOT.glob("inventory/*/group_vars/*/site.yml"):
        found.update(yaml.safe_load(path.read_text()))
    for path in (ROOT / "playbooks").glob("*.yml"):
        # what a playbook takes without a role, as the page of its verb says
        said = re.findall(r"`(\w+)`", (ROOT / f"docs/{path.stem}.md").read_text())
        found.update(set(said) & set(re.findall(r"{{ *(\w+)", path.read_text())))
    return found


def extra_variables(given: str) -> set[str]:
    if given.startswith("@"):
        return set()
    if given.startswith("{"):
        return set(json.loads(given))
    # what stands for no variable is in _raw_params, and would be lost without a word
    return set(parse_kv(given))


@pytest.mark.parametrize("words", playbook_commands())
def test_a_playbook_command_can_be_typed(words: list[str]) -> None:
    cli = PlaybookCLI(["ansible-playbook", *words])
    cli.init_parser()
    assert cli.parser is not None
    options = cli.parser.parse_args([word for word in words if word != LEFT_OUT])
    assert [name for name in options.args if not (ROOT / name).is_file()] == []
    # a name with a comma is a list of hosts
    directories = [name for name in options.inventory or [] if not name.endswith(",")]
    assert [name for name in directories if not (ROOT / name / "hosts.yml").is_file()] == []
    assert {name for given in options.extra_vars or [] for name in extra_variables(given)} <= documented_variables()


def test_every_target_that_a_page_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\(([A-Z]+)\)", makefile))
    wrong = []
    for page, words in make_commands():
        for word in words.split():
            name, value, _ = word.partition("=")
            if name not in (variables if value else targets):
                wrong.append(f"{page}: make {words}")
    assert wrong == []


def profiles() -> list[Any]:
    found = []
    for name in ("docs/profile.md", "docs/tutorial.md"):
        blocks = re.findall(r"```yaml\n(application:\n.*?)```", (ROOT / name).read_text(), re.DOTALL)
        found += [pytest.param(text, id=f"{name}:{number}") for number, text in enumerate(blocks)]
    return found


@pytest.mark.parametrize("text", profiles())
def test_a_whole_profile_on_a_page_is_one(text: str) -> None:
    values = {"site_repository": "git@git.example.com:shop/shop.git", "site_host_name": "shop.customer-a.example"}
    filled = re.sub(r"{{ (\w+) }}", lambda match: values[match[1]], text)
    Profile.parse(yaml.safe_load(filled)["application"])
