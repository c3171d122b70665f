# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies a bundle from the controller to a host: what is there stays, and what was lost half way goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.utils.display import Display
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.modules.copy_bundle import ARGUMENTS
from ansible_collections.slipway.release.plugins.plugin_utils._bundle_sender import (
    PIECE,
    File,
    Sender,
    files_of,
    told_ahead,
)
from ansible_collections.slipway.release.plugins.plugin_utils._host_call import ActionModule as HostCall


class ActionModule(HostCall):
    """Asks the host what is there and whether it takes the bundle, then sends it piece after piece."""

    def answer(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what was copied; a connection that is lost on the way says where the copy goes on."""
        host = task_vars.get("inventory_hostname", "the host")
        sender = Sender(self._putter(task_vars), lambda line: Display().display(f"{host}: {line}"))
        try:
            return self._copied(sender, task_vars)
        except SlipwayError as error:
            return {"failed": True, "msg": str(error)}
        except AnsibleError as error:
            if sender.at is None:
                raise
            name, at, size = sender.at
            reason = " ".join(str(error).split())
            stopped = f"{host}: the copy of {name} stopped at {at} of {size} bytes ({reason})"
            lost = isinstance(error, AnsibleConnectionFailure)
            return {"failed": True, "lost_host": lost, "msg": f"{stopped}: run it again, it goes on there"}

    def _copied(self, sender: Sender, task_vars: dict[str, Any]) -> dict[str, Any]:
        _, given = self.validate_argument_spec(ARGUMENTS)  # type: ignore[no-untyped-call]  # ansible-core is published without types
        sums, dest = Path(given["src"]), Path(given["dest"])
        if sums.name != dest.name:
            raise SlipwayError(f"{dest} must end with {sums.name}: the parts are named after it")
        files = files_of(sums)
        found = self.ask({"files": [file.told for file in files], "most": PIECE}, task_vars)
        if "there" not in found:
            return found
        missing = [file.path.name for file in files if found["there"][file.path.name] is not None]
        if missing:
            answered = self.ask({"ahead": told_ahead(files, found["there"])}, task_vars)
            if "admitted" not in answered:
                return answered
        copied = missing if self._task.check_mode else sender.send(files, found["there"])
        return {"changed": bool(copied), "copied": copied}

    def _putter(self, task_vars: dict[str, Any]) -> Callable[[File, int, Path], int]:
        def put(file: File, at: int, piece: Path) -> int:
            shell = self._connection._shell  # noqa: SLF001 - where every action finds its temporary directory
            if shell.tmpdir is None:
                self._make_tmp_path()
            there = self._transfer_file(str(piece), shell.join_path(shell.tmpdir, "piece"))
            done = self.ask({"piece": {**file.told, "offset": at, "path": there}}, task_vars)
            if "at" not in done:
                raise SlipwayError(str(done.get("msg", "the host did not answer")))
            return int(done["at"])

        return put
