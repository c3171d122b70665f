# SPDX-License-Identifier: GPL-3.0-or-later
"""What several gates need and one of them finds out, while they are looked at side by side."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from typing import Callable, Generic, TypeVar

from ._errors import SlipwayError

_T = TypeVar("_T")


class Once(Generic[_T]):
    """Calls a function at most once; whoever asks gets the same value, or the same error."""

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function
        self._asking = Lock()
        self._outcome: Future[_T] = Future()

    def __call__(self) -> _T:
        """Return what the function returned, or raise what it raised."""
        with self._asking:
            if not self._outcome.done():
                try:
                    self._outcome.set_result(self._function())
                except SlipwayError as error:
                    self._outcome.set_exception(error)
        return self._outcome.result()
