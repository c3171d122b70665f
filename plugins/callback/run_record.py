# SPDX-License-Identifier: GPL-3.0-or-later
"""Records a run, shows how far it is and says at its end what happened. The work is done in plugin_utils."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_record
type: aggregate
short_description: Record a run, show how far it is, and say at its end what happened
version_added: 0.1.0
author: Slipway contributors (@slipway)
description:
  - Collects the observations, verdicts, failures, phase times and costs of a run.
  - Writes one JSON record a run, and prints for each host what happened, why, and what comes next.
  - On a terminal, one line at the bottom tells the phase, the sites, for how long, and how long it took last time. It
    is written again and again, and is gone before anything else is printed. Elsewhere nothing of it is printed.
  - Only runs that use the collection C(slipway.release) are recorded. A run that is interrupted is not.
  - Results of tasks with C(no_log) are never looked at.
  - Works beside any stdout callback, and never makes a run fail.
requirements:
  - enabled in C(callbacks_enabled) as C(slipway.release.run_record)
options:
  record_dir:
    description:
      - The directory of the records, made with mode 0700 when it does not exist. The records have mode 0600.
      - A relative path begins at the working directory.
    type: str
    default: build/records
    env:
      - name: SLIPWAY_RECORD_DIR
    ini:
      - section: slipway
        key: record_dir
  live:
    description: Whether a terminal shows how far the run is. AWX never does.
    type: bool
    default: true
    env:
      - name: SLIPWAY_LIVE
    ini:
      - section: slipway
        key: live
"""

import functools
import os
import sys
from pathlib import Path
from typing import Any, Callable, TypeVar, cast

from ansible import constants, context
from ansible.plugins.callback import CallbackBase
from ansible_collections.slipway.release.plugins.plugin_utils._live_line import LiveLine, wanted
from ansible_collections.slipway.release.plugins.plugin_utils._progress import Progress
from ansible_collections.slipway.release.plugins.plugin_utils._run_record import (
    FAILED,
    NOT_BEGUN,
    OK,
    SKIPPED,
    UNREACHABLE,
    Collector,
    Ended,
    phase_of,
    write,
)
from ansible_collections.slipway.release.plugins.plugin_utils._run_summary import (
    BAD,
    GOOD,
    PLAIN,
    UNSURE,
    fleet_summary,
    summary,
)

_Hook = TypeVar("_Hook", bound=Callable[..., None])


def _harmless(hook: _Hook) -> _Hook:
    """An error in a hook becomes one warning a run."""

    @functools.wraps(hook)
    def guarded(self: CallbackModule, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - forwarded as they are
        try:
            hook(self, *arguments, **options)
        except Exception as error:  # noqa: BLE001 - whatever is wrong here must not touch the run
            self.warn_once(error)

    return cast("_Hook", guarded)


def _role(task: Any) -> str | None:  # noqa: ANN401 - not typed
    """The role that a task belongs to."""
    return task._role.get_name() if task._role is not None else None  # noqa: SLF001 - its only name


def inventory_typed() -> list[str]:
    """The inventories of the command line, as short as they can be typed; none where the configuration names them."""
    given = [str(item) for item in context.CLIARGS.get("inventory") or ()]
    configured = constants.config.get_config_value("DEFAULT_HOST_LIST")
    if given == [str(item) for item in configured]:
        return []
    here = Path.cwd()
    return [str(Path(item).relative_to(here)) if Path(item).is_relative_to(here) else item for item in given]


class CallbackModule(CallbackBase):
    """Forwards what happens to the collector."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway.release.run_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._collector: Collector | None = None
        self._progress: Progress | None = None
        self._live: LiveLine | None = None
        self._warned = False
        colours = {GOOD: "COLOR_OK", BAD: "COLOR_ERROR", UNSURE: "COLOR_WARN"}
        self._colours = {tone: constants.config.get_config_value(name) for tone, name in colours.items()}
        self._colours[PLAIN] = None

    def warn_once(self, error: Exception) -> None:
        """Warn about the first error; an error's text may hold what a task must not show, a file's error does not."""
        if not self._warned:
            self._warned = True
            reason = str(error) if isinstance(error, OSError) else type(error).__name__
            self._display.warning(f"slipway.release.run_record: the record of this run is not complete: {reason}")

    @_harmless
    def v2_playbook_on_start(self, playbook: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        name: str = playbook._file_name  # noqa: SLF001 - its only name
        self._collector = Collector(name, check_mode=bool(context.CLIARGS.get("check")), inventory=inventory_typed())
        if self.get_option("live") and wanted(sys.stdout.fileno(), os.environ):  # type: ignore[no-untyped-call] # inherited, and not typed
            self._progress = Progress(Path(name).stem)
            self._live = LiveLine(self._display, self._progress.line, sys.stdout.fileno())
            self._live.start()

    @_harmless
    def v2_playbook_on_play_start(self, play: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        if self._collector is not None:
            inventory = play.get_variable_manager()._inventory  # noqa: SLF001 - its only name
            hosts, fleet = (inventory.get_hosts(play.hosts, ignore_restrictions=every) for every in (False, True))
            self._collector.wave([host.get_name() for host in hosts], [host.get_name() for host in fleet])

    @_harmless
    def v2_runner_on_start(self, host: Any, task: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        if self._collector is not None:
            self._collector.begin(host.get_name())
        if self._progress is not None:
            self._progress.begin(host.get_name(), phase_of(_role(task), task.get_path()))

    @_harmless
    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        self._end(result, OK)

    @_harmless
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ANN401, D102, FBT001, FBT002 - as CallbackBase has it
        self._end(result, FAILED, ignored=bool(ignore_errors))

    @_harmless
    def v2_runner_on_unreachable(self, result: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        self._end(result, UNREACHABLE, ignored=bool(result.task.ignore_unreachable))

    @_harmless
    def v2_runner_on_skipped(self, result: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        self._end(result, SKIPPED)

    @_harmless
    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ANN401, D102 - as CallbackBase has it
        if self._live is not None:
            self._live.stop()
        if self._collector is None or not self._collector.ours:
            return
        record = self._collector.record([*stats.failures, *stats.dark])
        begun = {name: host for name, host in record["hosts"].items() if host["outcome"] != NOT_BEGUN}
        blocks = [summary(name, host, record) for name, host in begun.items()]
        for block in [*blocks, *([fleet_summary(record)] if record["fleet"] else [])]:
            self._display.display("")
            for line, tone in block:
                self._display.display(line, color=self._colours[tone])
        directory: str = self.get_option("record_dir")  # type: ignore[no-untyped-call] # inherited, and not typed
        path = write(record, Path(directory))
        self._display.display(f"\nrecord: {path}")

    def _end(self, result: Any, status: str, *, ignored: bool = False) -> None:  # noqa: ANN401 - as CallbackBase has it
        if self._collector is None:
            return
        task, role = result.task, _role(result.task)
        hidden = bool(task.no_log) or "censored" in result.result
        event = Ended(
            host=result.host.get_name(),
            task=task.get_name().rpartition(" : ")[2],
            action=task.resolved_action or task.action,
            phase=phase_of(role, task.get_path()),
            status=status,
            result=result.result,
            arguments=task.args,
            changed=result.is_changed(),
            ignored=ignored,
            hidden=hidden,
            looped=task.loop is not None,
            delegated=task.delegate_to is not None,
        )
        self._collector.end(event, of_our_role=(role or "").startswith("slipway.release."))
        if self._progress is not None:
            self._progress.end(event.host)
            if event.ours == "preflight" and event.parts:
                self._progress.expect(event.host, event.parts[0].get("expected"))
