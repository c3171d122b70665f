# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out of what leaves a site what must not: known secrets, what looks like one, and what people wrote.

`Secrets` hides those that the site knows, in whatever form, and leaves all else as it is: results, records and alerts
go through it. What a site hands to those who help it goes through a `Redactor`, with the masks that logs go through.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ._errors import printable
from ._log_signatures import masked, unquoted, without_secrets
from ._profile import secrets as secret_values
from ._scrub import HIDDEN, scrubbed

# From so many characters on a value is hidden wherever it stands; a shorter one only where it is a word by itself.
_ANYWHERE, _SHORTEST = 6, 3
# Of fewer different characters is a line or a gap, and no secret.
_VARIED = 3
# Nobody keeps these secret, and hiding them would hide everything.
_COMMON = frozenset(
    {"true", "false", "yes", "off", "none", "null", "production", "staging", "development", "localhost", "127.0.0.1"}
)
# The least of a secret that counts where a text was cut.
_LEAST_PART = 4
_CUT_AFTER, _CUT_BEFORE = " ...", "... "
# What later tasks go by is no text for people, whatever variable has the same value.
_NAMES = frozenset(
    {
        *("archive", "at", "current", "id", "path", "phase", "previous", "probe", "release", "run", "since"),
        *("standing", "taken_back", "unit", "verb", "version"),
    }
)
# A name or a time by itself has a secret in it only by chance; an address or an assignment may have one.
_CARRIES = re.compile(r"\s|://|[=@\"']")
# Names of runs and backups look like tokens, digests do too.
_RUN = re.compile(r"((?<![\w+=-])\d{8}T\d{6}Z(?:-[a-z_]{1,20}){0,3}(?![\w+=-]))")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BARE_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST_KEYS = frozenset({"commit", "schema", "sha256", "manifest"})
# An observation of a log ends with one of its lines.
_LINE = re.compile(r"(\d+ times, (?:new|nothing to compare with): )(.*)", re.DOTALL)
# PostgreSQL tells the row that an error is about.
_ROW = re.compile(r"(Key \([^()]*\)=|[Ff]ailing row contains )\(.*?(?:\)(?=[ .,;]|$)|$)", re.DOTALL)


def known_secrets(
    variables: Iterable[Mapping[str, str]], required: Collection[str], plain: Collection[str]
) -> tuple[set[str], set[str]]:
    """The values to be hidden anywhere, and those to be hidden where they are words by themselves.

    :param variables: env files and the like.
    :param required: the names of variables whose values are secret whatever they are called.
    :param plain: values that are no secret, such as the names of services.
    """
    anywhere: set[str] = set()
    words: set[str] = set()
    # most stand in more than one file
    for name, value in {pair for mapping in variables for pair in mapping.items()}:
        secret = bool(secret_values({name: value}))
        for part in _parts(value):
            if part in plain or part.lower() in _COMMON or len(set(part.strip())) < _VARIED:
                continue
            if len(part) >= _ANYWHERE:
                anywhere.update(form for form in _forms(part) if len(form.strip()) >= _ANYWHERE)
            elif len(part) >= _SHORTEST and (secret or (name in required and not part.isdigit())):
                words.add(part)
    return anywhere, words


def texts_in(value: object) -> Iterator[str]:
    """The texts in plain data, without the names of its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for held in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(held)


def _parts(value: str) -> Iterator[str]:
    """A value, its lines, and the user and the password in it when it is an address."""
    yield value
    if "\n" in value:
        yield from (line.strip() for line in value.splitlines())
    if "://" in value:
        try:
            found = urlsplit(value)
        except ValueError:
            return
        for part in filter(None, (found.username, found.password)):
            yield from (part, unquote(part))


def _forms(value: str) -> set[str]:
    """A value as it stands, on one line, in an address, in JSON, in base64, and what a log's signature leaves of it."""
    try:
        # what is no UTF-8 came through as it was
        content = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        content = value.encode("utf-8", "replace")
    forms = {value, printable(value), " ".join(value.split()), quote(content, safe=""), json.dumps(value)[1:-1]}
    forms.add(base64.b64encode(content).decode().rstrip("="))
    left = masked(value)
    return forms | ({left} if len(left.replace("#", "")) >= _ANYWHERE else set())


class Secrets:
    """Hides what is known to be secret.

    :param anywhere: texts that are hidden wherever they stand.
    :param words: texts that are hidden where they stand by themselves.
    """

    def __init__(self, anywhere: Collection[str] = (), words: Collection[str] = ()) -> None:
        self.anywhere = set(anywhere)
        self._words = (
            re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(words))) if words else None
        )

    def hidden(self, value: Any, key: str = "") -> Any:  # noqa: ANN401 - anything that JSON holds
        """The value without secrets in its texts, at whatever depth; keys, digests and names stay."""
        if isinstance(value, str):
            if key in _NAMES or _is_digest(value, key):
                return value
            if not _CARRIES.search(value):
                return HIDDEN if value in self.anywhere or self._word(value) == HIDDEN else value
            return self._hide(value)
        if isinstance(value, Mapping):
            return {name: self.hidden(held, str(name)) for name, held in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hidden(held, key) for held in value]
        return value

    def _hide(self, text: str) -> str:
        found = [secret for secret in self.anywhere if secret in text]
        return self._word(self._whole(str(scrubbed(text, found))))

    def _word(self, text: str) -> str:
        return self._words.sub(HIDDEN, text) if self._words is not None else text

    def _whole(self, text: str) -> str:
        """A text that was cut, perhaps in the middle of a secret, without the part of it."""
        *cut, last = text.split(_CUT_AFTER)
        text = _CUT_AFTER.join([*map(self._without_beginning, cut), last])
        first, *begun = text.split(_CUT_BEFORE)
        return _CUT_BEFORE.join([first, *map(self._without_end, begun)])

    def _without_beginning(self, text: str) -> str:
        """A text without the beginning of a secret that it ends with."""
        near = [secret for secret in self.anywhere if secret[:_LEAST_PART] in text[-len(secret) :]]
        sizes = [size for secret in near for size in _sizes(secret, text) if text.endswith(secret[:size])]
        return f"{text[: -max(sizes)]}{HIDDEN}" if sizes else text

    def _without_end(self, text: str) -> str:
        """A text without the end of a secret that it begins with."""
        near = [secret for secret in self.anywhere if secret[-_LEAST_PART:] in text[: len(secret)]]
        sizes = [size for secret in near for size in _sizes(secret, text) if text.startswith(secret[-size:])]
        return f"{HIDDEN}{text[max(sizes) :]}" if sizes else text


def _sizes(secret: str, text: str) -> range:
    """How long a part of a secret may be in a text."""
    return range(_LEAST_PART, min(len(secret), len(text) + 1))


def _is_digest(text: str, key: str) -> bool:
    return bool(_DIGEST.fullmatch(text) or (key in _DIGEST_KEYS and _BARE_DIGEST.fullmatch(text)))


class Redactor(Secrets):
    """Redacts plain data."""

    def __init__(self, anywhere: Collection[str] = (), words: Collection[str] = ()) -> None:
        super().__init__(anywhere, words)
        self._done: dict[str, str] = {}

    def clean(self, value: object) -> object:
        """The value as JSON has it, without secrets in its keys and its texts."""
        return self._clean(scrubbed(value, self.anywhere), "")

    def _clean(self, value: object, key: str) -> object:
        if isinstance(value, str):
            if secret_values({key: value}):
                return HIDDEN
            return value if _is_digest(value, key) else self._masked(value)
        if isinstance(value, Mapping):
            return {self._masked(str(name)): self._clean(held, str(name)) for name, held in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(held, key) for held in value]
        return value

    def text(self, text: str) -> str:
        """One text."""
        return self._masked(str(scrubbed(text, self.anywhere)))

    def _masked(self, text: str) -> str:
        """A text that was scrubbed already; many are there more than once."""
        known = self._done.get(text)
        if known is None:
            known = self._done[text] = self._redacted(text)
        return known

    def _redacted(self, text: str) -> str:
        text = self._word(self._whole(text))
        text = _LINE.sub(lambda found: found[1] + masked(found[2]), text)
        text = unquoted(_ROW.sub(rf"\1({HIDDEN})", text))
        # every second piece is the name of a run
        pieces = _RUN.split(text)
        return "".join(piece if at % 2 else without_secrets(piece, ()) for at, piece in enumerate(pieces))
