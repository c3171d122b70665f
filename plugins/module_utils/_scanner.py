# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a vulnerability scanner that the operator names, with limits on its time and on what it prints."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from ._errors import OUTPUT_TAIL, CommandError, SlipwayError
from ._quiet import quiet
from ._scan_reports import SIZE_LIMIT, Report, ReportError, parse_report
from ._vulnerabilities import Scanner

IMAGE = "${image}"
_CHUNK = 65536


def scan_all(scanner: Scanner, version: str, images: Sequence[str], *, offline: bool = False) -> list[Report]:
    """What a scanner says of the images of a release, all within its time; one that fails has said nothing.

    :param offline: whether it must use the database that it has.
    """
    deadline = time.monotonic() + scanner.timeout

    def one(image: str) -> Report:
        try:
            left = max(0.1, deadline - time.monotonic())
            return scan(scanner.command, image, version, scanner.form, left, offline=offline)
        except SlipwayError as error:
            return Report.missing(version, error)

    return [one(image) for image in images]


def scan(  # noqa: PLR0913 - what a scan depends on
    command: Sequence[str], image: str, subject: str, form: str | None, timeout: float, *, offline: bool = False
) -> Report:
    """Let the scanner look at an image.

    Scanners end with another code than 0 when they found something, so that what they print decides.

    :param command: its argv; IMAGE in an element stands for the image. No shell reads it.
    :param timeout: seconds; then it is killed, with all that it started.
    :param offline: whether it must use the database that it has.
    :raises SlipwayError: it printed no report; the message ends with the last line of what else it said.
    """
    argv = [part.replace(IMAGE, image) for part in command]
    code, output, said = _run(argv, timeout, quiet(os.environ, offline=offline))
    try:
        return parse_report(output, subject, form, argv[0])
    except ReportError as error:
        if code == 0:
            raise
        raise CommandError(argv, code, said.decode("utf-8", "replace") or str(error)) from error


def _run(argv: list[str], timeout: float, environment: dict[str, str]) -> tuple[int, bytes, bytes]:
    """The exit code, what was printed, and the end of the messages."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        raise SlipwayError(f"the scanner {argv[0]} cannot be started: {error.strerror}") from error
    printed, said, deadline = bytearray(), bytearray(), time.monotonic() + timeout
    with process, selectors.DefaultSelector() as pipes:
        for stream, into in ((process.stdout, printed), (process.stderr, said)):
            if stream is not None:
                pipes.register(stream, selectors.EVENT_READ, into)
        try:
            while pipes.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CommandError(argv, None, f"after {timeout:.0f} s")
                for key, _events in pipes.select(left):
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        pipes.unregister(key.fileobj)
                    key.data.extend(data)
                del said[:-OUTPUT_TAIL]
                if len(printed) > SIZE_LIMIT:
                    raise SlipwayError(f"the scanner {argv[0]} printed more than {SIZE_LIMIT // 1_000_000} MB")
            code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise CommandError(argv, None, f"after {timeout:.0f} s") from error
        finally:
            # what it started goes with it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return code, bytes(printed), bytes(said)
