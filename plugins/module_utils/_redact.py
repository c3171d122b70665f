# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out of a site's records what must not leave it: known secrets, what looks like one, and what people wrote.

The records hold few secrets, for what writes them hides those that it knows. Here all that the site knows are hidden
once more, in whatever form, and each text goes through the masks that logs go through.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from ._log_signatures import masked, unquoted, without_secrets
from ._profile import secrets as secret_values
from ._scrub import HIDDEN, scrubbed

# From so many characters on a value is hidden wherever it stands; a shorter one only where it is a word by itself.
_ANYWHERE, _SHORTEST = 6, 3
# Nobody keeps these secret, and hiding them would hide everything.
_COMMON = frozenset(
    {"true", "false", "yes", "off", "none", "null", "production", "staging", "development", "localhost", "127.0.0.1"}
)
# The least of a secret that counts where a text was cut.
_LEAST_PART = 4
_CUT = " ..."
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
    for mapping in variables:
        for name, value in mapping.items():
            if value in plain or value.lower() in _COMMON:
                continue
            secret = bool(secret_values({name: value}))
            for part in _parts(value):
                if len(part) >= _ANYWHERE:
                    anywhere.update(_forms(part))
                elif len(part) >= _SHORTEST and (secret or (name in required and not part.isdigit())):
                    words.add(part)
    return anywhere, words


def _parts(value: str) -> Iterator[str]:
    """A value, and the user and the password in it when it is an address."""
    yield value
    if "://" in value:
        try:
            found = urlsplit(value)
        except ValueError:
            return
        yield from (part for part in (found.username, found.password) if part)


def _forms(value: str) -> set[str]:
    """A value as it stands, in an address, in JSON, in base64, and what a signature of a log leaves of it."""
    forms = {value, quote(value, safe=""), json.dumps(value)[1:-1]}
    forms.add(base64.b64encode(value.encode()).decode().rstrip("="))
    left = masked(value)
    return forms | ({left} if len(left.replace("#", "")) >= _ANYWHERE else set())


class Redactor:
    """Redacts plain data.

    :param anywhere: texts that are hidden wherever they stand.
    :param words: texts that are hidden where they stand by themselves.
    """

    def __init__(self, anywhere: Collection[str] = (), words: Collection[str] = ()) -> None:
        self.anywhere = set(anywhere)
        self._words = (
            re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(words))) if words else None
        )
        self._done: dict[str, str] = {}

    def clean(self, value: object) -> object:
        """The value as JSON has it, without secrets in its keys and its texts."""
        return self._clean(scrubbed(value, self.anywhere), "")

    def _clean(self, value: object, key: str) -> object:
        if isinstance(value, str):
            if secret_values({key: value}):
                return HIDDEN
            if _DIGEST.fullmatch(value) or (key in _DIGEST_KEYS and _BARE_DIGEST.fullmatch(value)):
                return value
            return self._masked(value)
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

    def _word(self, text: str) -> str:
        return self._words.sub(HIDDEN, text) if self._words is not None else text

    def _whole(self, text: str) -> str:
        """A text that was cut, perhaps in the middle of a secret, without the part of it."""
        if not text.endswith(_CUT):
            return text
        body = text[: -len(_CUT)]
        ends = [
            size
            for secret in self.anywhere
            for size in range(_LEAST_PART, min(len(secret), len(body) + 1))
            if body.endswith(secret[:size])
        ]
        return f"{body[: -max(ends)]}{HIDDEN}{_CUT}" if ends else text
