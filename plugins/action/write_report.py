# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the report of a release, on the controller."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import write_file
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._report_page import Report, render

ARGUMENTS = {
    "src": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "site": {"type": "str", "required": True},
    "history": {"type": "dict", "required": True},
    "scorecard": {"type": "dict", "required": True},
    "assessed": {"type": "dict"},
}


class ActionModule(ControllerAction):
    """Connects to nothing."""

    def answer(self) -> dict[str, Any]:
        """Write the page and its data where they are other ones; fail with one line where that is impossible."""
        given = self.checked(ARGUMENTS)
        template = Path(self._find_needle("templates", given["src"])).read_text("utf-8")  # type: ignore[no-untyped-call]  # ansible-core is published without types
        # plain data: what Ansible marks its texts with is of no use here
        data = json.loads(json.dumps({name: given[name] for name in ("site", "history", "scorecard", "assessed")}))
        report = Report(**data)
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{report.site}-{report.version}").lstrip(".")
        directory = Path(given["directory"])
        content = {
            directory / f"{stem}.html": render(template, report),
            directory / f"{stem}.json": json.dumps(data, indent=1, sort_keys=True) + "\n",
        }
        try:
            changed = [path for path, text in content.items() if not _holds(path, text)]
            if changed and not self.check_mode:
                directory.parent.mkdir(parents=True, exist_ok=True)
                directory.mkdir(mode=0o700, exist_ok=True)
                for path in changed:
                    write_file(path, content[path].encode())
        except OSError as error:
            raise SlipwayError(f"the report cannot be written: {error.filename}: {error.strerror}") from error
        page, plain = map(str, content)
        told = {"path": page, "data": plain, "summary": report.sentence, "outcome": report.outcome}
        return {"changed": bool(changed), **told}


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode() and path.stat().st_mode & 0o777 == 0o600  # noqa: PLR2004 - for the owner alone
    except FileNotFoundError:
        return False
