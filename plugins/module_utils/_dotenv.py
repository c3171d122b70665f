# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of an env file, read and written by the rules of Compose (github.com/compose-spec/compose-go, dotenv)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from ._errors import SlipwayError

_ENTRY = re.compile(
    r"""
    ^[^\S\n]* (?:export[^\S\n]+)? (?P<key>[A-Za-z_][\w.-]*) [^\S\n]* [=:] [^\S\n]*
    (?: (?P<quote>['"]) (?P<quoted> (?: \\. | (?!(?P=quote))[^\\] )* ) (?P=quote) [^\n]* | (?P<plain>[^\n]*) )
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE | re.ASCII,
)
_KEY = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<how>:?-)(?P<default>[^{}]*))?\})",
    re.ASCII,
)
_ESCAPED = re.compile(r'\\(?:([abfnrtv$"\\])|0([0-3][0-7]{2}))')
_MEANT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$", '"': '"', "\\": "\\"}
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*[=:](.*)", re.ASCII)
# What a value without quotes would be read otherwise for.
_NOT_PLAIN = re.compile(r"^[\s'\"#]|\s$|\s#|[$\n\r]")
_IN_DOUBLE = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"}


def read(text: str) -> dict[str, str]:
    """The values in an env file by their names, as Compose reads them."""
    found: dict[str, str] = {}
    for match in _ENTRY.finditer(text.replace("\r\n", "\n")):
        found[match["key"]] = _value(match, found)
    return found


def lines(text: str) -> Iterator[tuple[str, str]]:
    """What stands on each line, with the name before it: of a file that it cannot read, Compose quotes such pieces."""
    for line in text.splitlines():
        match = _LINE.match(line)
        name, said = (match[1], match[2]) if match else ("", "" if line.lstrip().startswith("#") else line)
        yield name, said.strip().strip("'\"")


def _value(match: re.Match[str], known: Mapping[str, str]) -> str:
    quote = match["quote"]
    if quote is None:
        return _filled_in(match["plain"].partition(" #")[0].strip(), known)
    if quote == "'":
        return match["quoted"].replace("\\'", "'")
    return _filled_in(_ESCAPED.sub(_meant, match["quoted"]), known)


def _meant(match: re.Match[str]) -> str:
    return _MEANT[match[1]] if match[1] else chr(int(match[2], 8))


def _filled_in(value: str, known: Mapping[str, str]) -> str:
    """The value with the variables that it names."""

    def one(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        name = match["name"] or match["braced"]
        given = known.get(name, os.environ.get(name))
        if match["how"] and (given is None or (match["how"] == ":-" and not given)):
            return str(match["default"])
        return given or ""

    return _VARIABLE.sub(one, value)


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text of an env file in which `changes` hold; whatever says so already, and the rest, stay as they are."""
    present, missing = read(text), dict(changes)

    def one(match: re.Match[str]) -> str:
        key = match["key"]
        missing.pop(key, None)
        return match[0] if changes.get(key, present[key]) == present[key] else entry(key, changes[key])

    text = _ENTRY.sub(one, text)
    text += "" if text.endswith("\n") or not text else "\n"
    return text + "".join(f"{entry(key, value)}\n" for key, value in missing.items())


def entry(key: str, value: str) -> str:
    """The line that gives `key` its value: without quotes where that does, without variables and escapes else.

    :raises SlipwayError: no env file can hold it.
    """
    if not _KEY.fullmatch(key):
        raise SlipwayError(f"{key!r} is no name of a variable: letters, digits and _ only, in application_environment")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise SlipwayError(f"the value of {key} is no text in UTF-8: mend application_environment") from error
    if "\0" in value:
        raise SlipwayError(f"the value of {key} holds a NUL, which no variable can: mend application_environment")
    if not _NOT_PLAIN.search(value):
        return f"{key}={value}"
    if not re.search(r"['\n\r]|\\$", value):
        return f"{key}='{value}'"
    quoted = "".join(_IN_DOUBLE.get(character, character) for character in value)
    # before the closing quote older Compose takes any backslash for one that escapes it
    return f'{key}="{quoted[:-2]}\\0134"' if value.endswith("\\") else f'{key}="{quoted}"'
