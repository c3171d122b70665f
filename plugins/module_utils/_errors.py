# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that an operator is meant to read: what is wrong, where, and how to mend it, on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bounded import bounded

if TYPE_CHECKING:
    from ._observation import Observation

COMMAND_WIDTH = 80
MESSAGE_WIDTH = 600
OUTPUT_TAIL = 4000
# Seconds to wait before a command that Docker failed to start is tried again.
STARTING_AGAIN = (0.5, 2.0)
_NOT_STARTED = 126


def tail(printed: str) -> str:
    """The end of what a command printed; where it was cut it says so."""
    return printed if len(printed) <= OUTPUT_TAIL else f"... {printed[-OUTPUT_TAIL:]}"


def printable(text: str, keep: str = "") -> str:
    """A text that cannot move a terminal's cursor, whoever wrote it: a space for each character that has no shape.

    :param keep: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else " " for letter in text)


class SlipwayError(Exception):
    """Anything that stops an operation on purpose; its text is shown to the operator.

    :param message: refusals have a line for each failure.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message, keep="\n"))


class LockedError(SlipwayError):
    """Another process or another run holds this site."""


class OutOfOrderError(SlipwayError):
    """A step was asked for whose conditions are not met, such as a switch without a backup."""


class RefusedError(SlipwayError):
    """Gates do not hold.

    :param failures: one line for each.
    :param observations: what was seen at all gates.
    :param notes: the release's entry in its changelog, ready for JSON, where it has one.
    """

    def __init__(
        self, message: str, failures: list[str], observations: list[Observation], notes: dict[str, Any] | None
    ) -> None:
        self.failures = [printable(failure, keep="\n") for failure in failures]
        self.observations = observations
        self.notes = notes
        super().__init__(message)


class CommandError(SlipwayError):
    """A command on the host ended with a failure; `reason` is its last line, or how it ended where it printed none.

    :param argv: the command, without its environment.
    :param returncode: its exit code; None when it ran out of time.
    :param output: the end of what it printed.
    """

    def __init__(self, argv: list[str], returncode: int | None, output: str) -> None:
        self.argv = argv
        self.returncode = returncode
        self.output = output.strip()
        ended = "ran out of time" if returncode is None else f"ended with code {returncode}"
        message = f"{' '.join(argv)[:COMMAND_WIDTH]} {ended}"
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        self.reason = lines[-1] if lines else message
        super().__init__(bounded(f"{message}: {self.reason}" if lines else message, MESSAGE_WIDTH))

    @property
    def not_started(self) -> bool:
        """Whether Docker failed to start it inside a container, as happens: then it has not begun."""
        return self.returncode == _NOT_STARTED and "OCI runtime exec failed" in self.output
