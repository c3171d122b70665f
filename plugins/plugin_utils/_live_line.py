# SPDX-License-Identifier: GPL-3.0-or-later
"""One line at the bottom of a terminal that is written again and again, and is gone before anything else is printed."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Callable

EVERY = 0.25  # seconds


def wanted(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether somebody looks at a terminal; AWX gives its jobs one too, and keeps what is printed there."""
    awx = "AWX_ISOLATED_DATA_DIR" in environment or "awx_display" in environment.get("ANSIBLE_STDOUT_CALLBACK", "")
    return not awx and environment.get("TERM", "dumb") != "dumb" and os.isatty(descriptor)


class LiveLine:
    """Draws in a thread. Only a carriage return and blanks move and erase, so that any terminal will do.

    :param display: Ansible's, through which all else is printed.
    :param line: gives the line for a width.
    :param descriptor: of the terminal.
    """

    def __init__(self, display: Any, line: Callable[[int], str], descriptor: int) -> None:  # noqa: ANN401 - not typed
        self._display = display
        self._line = line
        self._descriptor = descriptor
        self._process = os.getpid()
        self._print = display.display
        self._shown = 0
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, name="slipway-live-line", daemon=True)

    def start(self) -> None:
        """Begin to draw, and stand in front of what Ansible prints."""
        self._display.display = self._printed
        atexit.register(self.stop)
        self._thread.start()

    def stop(self) -> None:
        """Erase the line and draw no more."""
        if os.getpid() == self._process and not self._over.is_set():
            with self._lock:
                self._over.set()
                self._erase()
            atexit.unregister(self.stop)

    def _printed(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - forwarded as they are
        if os.getpid() != self._process:
            # a worker hands what it prints to this process; a lock that was held when it was forked stays held there
            self._print(*arguments, **options)
            return
        with self._lock:
            self._erase()
            self._print(*arguments, **options)

    def _draw_on(self) -> None:
        # where nobody looks any more there is nothing left to do
        with suppress(OSError):
            while not self._over.wait(EVERY):
                self._draw()

    def _draw(self) -> None:
        with self._lock:
            if self._over.is_set():
                return
            # one column is left: some terminals go on to the next line when the last one is written
            text = self._line(os.get_terminal_size(self._descriptor).columns - 1)
            self._write("\r" + text.ljust(self._shown) + "\r" if text or self._shown else "")
            self._shown = len(text)

    def _erase(self) -> None:
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def _write(self, text: str) -> None:
        # past the buffer of sys.stdout, which a fork in the middle would leave locked
        data = text.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]
