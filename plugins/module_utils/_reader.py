# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads plain data strictly: every problem is noted with its path, and nothing that is unknown passes in silence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Callable, TypeVar

_T = TypeVar("_T")


class Reader:
    """Takes values out of one mapping of the profile and notes everything that is wrong with them.

    A getter returns None (or its default) for a value that is absent or wrong; the problem is in the shared list.
    """

    def __init__(self, path: str, value: object, problems: list[str]) -> None:
        self.path = path
        self._problems = problems
        self._known: list[str] = []
        self._usable = isinstance(value, Mapping)
        self._values: Mapping[Any, Any] = value if isinstance(value, Mapping) else {}
        if not self._usable:
            self.problem("", f"must be a mapping, not {_kind(value)}")

    def problem(self, key: str, text: str) -> None:
        """Note a problem with the value at `key`."""
        self._problems.append(f"{self.path}{'.' if key else ''}{key}: {text}")

    def raw(self, key: str, *, required: bool = False) -> object:
        """Return the value as it is; null is the same as absent."""
        self._known.append(key)
        value = self._values.get(key)
        if value is None and required and self._usable:
            self.problem(key, "is required")
        return value

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        self._known.append(key)
        return self._values.get(key) is not None

    def text(
        self,
        key: str,
        check: Callable[[str], str | None] | None = None,
        *,
        required: bool = False,
        default: str | None = None,
    ) -> str | None:
        """Read a text without control characters; `check` returns what is wrong with it."""
        value = self.raw(key, required=required)
        return default if value is None else self._checked(key, value, check)

    def _checked(self, key: str, value: object, check: Callable[[str], str | None] | None) -> str | None:
        wrong = _text_problem(value) or (check(value) if check and isinstance(value, str) else None)
        if wrong:
            self.problem(key, wrong)
        return value if isinstance(value, str) else None

    def texts(
        self,
        key: str,
        check: Callable[[str], str | None],
        default: tuple[str, ...] = (),
        *,
        repeated: bool = False,
    ) -> tuple[str, ...]:
        """Read a list of texts, different ones unless they may be `repeated`."""
        if not self.has(key):
            return default
        values = self._list(key)
        found = [self._checked(f"{key}[{index}]", value, check) for index, value in enumerate(values)]
        twice = set() if repeated else {item for item in found if item is not None and found.count(item) > 1}
        for name in sorted(twice):
            self.problem(key, f"names {name!r} twice")
        return tuple(item for item in found if item is not None)

    def number(self, key: str, default: float | None, *, least: float, most: float = float("inf")) -> float | None:
        """Read a number in a range; required when it has no default."""
        value = self.raw(key, required=default is None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            limit = f"of at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
            self.problem(key, f"must be a number {limit}")
            return default
        return value

    def whole(self, key: str, default: int | None, *, least: int, most: int) -> int | None:
        """Read a whole number in a range; required when it has no default."""
        value = self.number(key, default, least=least, most=most)
        if value is None:
            return None
        if value != int(value):
            self.problem(key, f"must be a whole number, not {value:g}")
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"must be true or false, not {_kind(value)}")
            return default
        return value

    def pattern(self, key: str) -> re.Pattern[str] | None:
        """Read a regular expression with at least one group."""
        text = self.text(key, required=True)
        if text is None:
            return None
        try:
            pattern = re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            self.problem(key, f"is no regular expression: {error}")
            return None
        if pattern.groups == 0:
            self.problem(key, "must have a group in parentheses: what it matches is the value")
            return None
        return pattern

    def form(self, key: str, *, required: bool = False) -> dict[str, str]:
        """Read the fields of a form. Their values are never shown."""
        value = self.raw(key, required=required)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(key, f"must be a mapping of fields to values, not {_kind(value)}")
            return {}
        for name, item in value.items():
            if not isinstance(name, str) or isinstance(item, (Mapping, list, tuple)) or item is None:
                self.problem(f"{key}.{name}", f"must be a field name with a plain value, not {_kind(item)}")
        return {str(name): _form_value(item) for name, item in value.items()}

    def inside(self, key: str, build: Callable[[Reader], _T | None], *, required: bool = False) -> _T | None:
        """Read a mapping of its own."""
        value = self.raw(key, required=required)
        return None if value is None else self._built(key, value, build)

    def items(self, key: str, build: Callable[[Reader], _T | None], *, required: bool = False) -> tuple[_T, ...]:
        """Read a list of mappings."""
        if not self.has(key):
            self.raw(key, required=required)
            return ()
        built = [self._built(f"{key}[{index}]", value, build) for index, value in enumerate(self._list(key))]
        if required and not built:
            self.problem(key, "must not be empty")
        return tuple(item for item in built if item is not None)

    def named(self, key: str, build: Callable[[str, Reader], _T | None]) -> tuple[_T, ...]:
        """Read a mapping of names to mappings."""
        value = self.raw(key)
        if value is None:
            return ()
        if not isinstance(value, Mapping):
            self.problem(key, f"must be a mapping, not {_kind(value)}")
            return ()
        built = [
            self._built(f"{key}.{name}", item, lambda reader, name=str(name): build(name, reader))  # type: ignore[misc]
            for name, item in value.items()
        ]
        return tuple(item for item in built if item is not None)

    def _built(self, key: str, value: object, build: Callable[[Reader], _T | None]) -> _T | None:
        reader = Reader(f"{self.path}.{key}", value, self._problems)
        item = build(reader)
        reader.refuse_unknown()
        return item

    def _list(self, key: str) -> list[object]:
        value = self._values[key]
        if isinstance(value, (list, tuple)):
            return list(value)
        self.problem(key, f"must be a list, not {_kind(value)}")
        return []

    def refuse_unknown(self) -> None:
        """Note every key that nothing asked for."""
        for key in self._values:
            if key not in self._known:
                near = difflib.get_close_matches(str(key), self._known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(sorted(set(self._known)))}"
                self.problem(str(key), f"is unknown: {hint}")


def _kind(value: object) -> str:
    names = {
        "NoneType": "nothing",
        "str": "text",
        "dict": "a mapping",
        "list": "a list",
        "bool": "true or false",
        "int": "a number",
    }
    return names.get(type(value).__name__, type(value).__name__)


def _form_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be text, not {_kind(value)}"
    if not value:
        return "must not be empty"
    if not value.isprintable():
        return "must not contain control characters"
    return None


def like(pattern: re.Pattern[str], rule: str) -> Callable[[str], str | None]:
    """Make a check for a whole text; `rule` is what to say when it does not fit."""
    return lambda value: None if pattern.fullmatch(value) else f"{rule}, not {value!r}"


def one_of(names: Sequence[str]) -> Callable[[str], str | None]:
    """Make a check for one of a few texts."""
    return lambda value: None if value in names else f"must be one of {', '.join(names)}, not {value!r}"


def a_day(value: str) -> str | None:
    """Check a day; Python's own reader takes more forms of it from 3.11 on."""
    try:
        good = date.fromisoformat(value).isoformat() == value
    except ValueError:
        good = False
    return None if good else f"must be a day as 2026-12-31, not {value!r}"
