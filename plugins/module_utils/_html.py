# SPDX-License-Identifier: GPL-3.0-or-later
"""What a browser takes from an HTML page: the files it loads, and the token that its forms carry."""

from __future__ import annotations

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
    :param login: the path on the page's own host that a form with a password goes to.
    """

    assets: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    token: str | None = None
    login: str | None = None


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.fetched: list[str] = []
        self.mentioned: list[str] = []
        self.meta_token: str | None = None
        self.form_token: str | None = None
        self.action = ""
        self.login: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: (value or "").strip() for name, value in reversed(attrs)}
        reference = given.get("href" if tag in {"link", "base"} else "src", "")
        if tag == "base":
            self.base = self.base or reference
        elif tag == "meta" and given.get("name") == "csrf-token":
            self.meta_token = given.get("content") or None
        elif tag == "form":
            self.action = given.get("action", "")
        elif tag == "input" and given.get("type", "").lower() == "password":
            self.login = self.action if self.login is None else self.login
        elif tag == "input" and given.get("name") == "authenticity_token":
            self.form_token = given.get("value") or None
        elif reference and (tag in _FETCHED_SOURCES or (tag == "link" and self._loaded(given))):
            self.fetched.append(reference)
        elif reference and tag in _SOURCES:
            self.mentioned.append(reference)

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
    return Document(tuple(assets), tuple(outside), parser.meta_token or parser.form_token, _login(parser, base, hosts))


def path_of(target: SplitResult) -> str:
    """What is asked for on the host of an address: path and query."""
    return target._replace(scheme="", netloc="", fragment="").geturl() or "/"


def _login(parser: _Parser, base: str, hosts: frozenset[str]) -> str | None:
    """Where the form with a password goes; None where there is none, or it goes elsewhere or back to its page."""
    if not parser.login:
        return None
    try:
        target = urlsplit(urljoin(base, parser.login))
    except ValueError:
        return None
    return path_of(target) if target.netloc.lower() in hosts else None
