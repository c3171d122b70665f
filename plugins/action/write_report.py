# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the report of a release, on the controller."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._outbox import Outbox
from ansible_collections.slipway.release.plugins.plugin_utils._report_page import Report, render
from jinja2 import TemplateError

_LONGEST_REASON = 160
# What malformed data makes of the code that puts it into words.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, TemplateError)


class ActionModule(ControllerAction):
    """Connects to nothing."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Write the page and its data where they are other ones; fail with one line where that is impossible."""
        template = Path(self._find_needle("templates", given["src"])).read_text("utf-8")  # type: ignore[no-untyped-call]  # ansible-core is published without types
        data = {name: given[name] for name in ("site", "history", "scorecard", "assessed")}
        if given["host"]:
            data["host"] = given["host"]
        if given["outbox"]:
            told = Outbox(Path(given["outbox"]), data["site"]).told(
                str(data["history"].get("application")), str(data["history"].get("version"))
            )
            data["announced"] = told
        report = Report(**data)
        try:
            page, said = render(template, report), {"summary": report.sentence, "outcome": report.outcome}
        except _MALFORMED as error:
            reason = " ".join(f"{type(error).__name__} {error}".split())[:_LONGEST_REASON]
            raise SlipwayError(
                f"the report of {report.site} cannot be written: its data is not what this version of Slipway writes "
                f"({reason}): use the version that wrote it"
            ) from error
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{report.site}-{report.version}").lstrip(".")
        directory = Path(given["directory"])
        content = {
            directory / f"{stem}.html": page,
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
        html, plain = map(str, content)
        return {"changed": bool(changed), "path": html, "data": plain, **said}


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode() and path.stat().st_mode & 0o777 == 0o600  # noqa: PLR2004 - for the owner alone
    except FileNotFoundError:
        return False
