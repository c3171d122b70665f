# SPDX-License-Identifier: GPL-3.0-or-later
"""What a browser takes from an HTML page: the files it loads, and the token that its forms carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import SplitResult, urljoin, urlsplit

# Far beyond any real page; keeps a hostile one from costing seconds of parsing.
PARSED = 2_000_000

_LOADED_LINKS = frozenset({"stylesheet", "icon", "modulepreload", "preload"})
_SOURCES = frozenset({"script", "img", "iframe", "source", "video", "audio", "embed"})
_FETCHED_SOURCES = frozenset({"script", "img"})


@dataclass(frozen=True)
class Document:
    """A page as a browser sees it.

    :param assets: paths on the page's own host that a browser fetches for it.
    :param outside: references to other hosts.
    :param token: the CSRF token that a form of this page would send.
    :param logins: of each form with a password where it goes on the page's own host, None where that is the page
        itself, and the names of its fields.
    """

    assets: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    token: str | None = None
    logins: tuple[tuple[str | None, frozenset[str]], ...] = ()


class _Form:
    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: set[str] = set()
        self.password = False


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.fetched: list[str] = []
        self.mentioned: list[str] = []
        self.meta_token: str | None = None
        self.form_token: str | None = None
        self.forms: list[_Form] = []
        self.form = _Form("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: (value or "").strip() for name, value in reversed(attrs)}
        reference = given.get("href" if tag in {"link", "base"} else "src", "")
        if tag == "base":
            self.base = self.base or reference
        elif tag == "meta" and given.get("name") == "csrf-token":
            self.meta_token = given.get("content") or None
        elif tag == "form":
            self.form = _Form(given.get("action", ""))
            self.forms.append(self.form)
        elif tag == "input":
            self._input(given)
        elif reference and (tag in _FETCHED_SOURCES or (tag == "link" and self._loaded(given))):
            self.fetched.append(reference)
        elif reference and tag in _SOURCES:
            self.mentioned.append(reference)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = _Form("")

    def _input(self, given: dict[str, str]) -> None:
        self.form.fields.add(given.get("name", ""))
        self.form.password = self.form.password or given.get("type", "").lower() == "password"
        if given.get("name") == "authenticity_token":
            self.form_token = given.get("value") or None

    @staticmethod
    def _loaded(given: dict[str, str]) -> bool:
        return bool(_LOADED_LINKS.intersection(given.get("rel", "").lower().split()))


def read_html(text: str, url: str, hosts: frozenset[str]) -> Document:
    """Read a page found at `url`; `hosts` are the names of its own host."""
    parser = _Parser()
    # Broken markup makes some versions of html.parser raise; what was read until then counts.
    with suppress(AssertionError, ValueError, RecursionError):
        parser.feed(text[:PARSED])
        parser.close()
    base = urljoin(url, parser.base)
    assets: dict[str, None] = {}
    outside: dict[str, None] = {}
    for reference, fetched in [(item, True) for item in parser.fetched] + [(item, False) for item in parser.mentioned]:
        try:
            target = urlsplit(urljoin(base, reference))
        except ValueError:
            outside[reference] = None
            continue
        if target.scheme not in {"http", "https"}:
            continue
        if target.netloc.lower() not in hosts:
            outside[f"{target.scheme}://{target.netloc}{target.path}"] = None
        elif fetched:
            assets[path_of(target)] = None
    logins = [(form.action, frozenset(form.fields)) for form in parser.forms if form.password]
    token = parser.meta_token or parser.form_token
    return Document(tuple(assets), tuple(outside), token, tuple(_logins(logins, base, hosts)))


def path_of(target: SplitResult) -> str:
    """What is asked for on the host of an address: path and query."""
    return target._replace(scheme="", netloc="", fragment="").geturl() or "/"


def _logins(
    forms: Iterable[tuple[str, frozenset[str]]], base: str, hosts: frozenset[str]
) -> Iterator[tuple[str | None, frozenset[str]]]:
    """Those that stay on the page's own host."""
    for action, fields in forms:
        try:
            target = urlsplit(urljoin(base, action))
        except ValueError:
            continue
        if target.netloc.lower() in hosts:
            yield (path_of(target) if action else None), fields
