# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a release's notes for customers on the controller."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._changelog import Notes, customer_notes
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._release_notes import as_markdown, as_text


class ActionModule(ControllerAction):
    """Connects to nothing. What it writes is for people to read, and no change of a host."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the notes and where they lie; fail with one line where they cannot be written."""
        notes = customer_notes(Notes.from_dict(given["notes"]))
        directory, product = Path(given["directory"]), given["product"]
        files = {
            directory / f"{product}-{notes.version}.md": as_markdown(product, notes),
            directory / f"{product}-{notes.version}.txt": as_text(product, notes),
        }
        try:
            if not self.check_mode:
                directory.mkdir(parents=True, exist_ok=True)
                for path, text in files.items():
                    write_file(path, text.encode(), mode=0o644)
        except OSError as error:
            raise SlipwayError(
                f"the release notes cannot be written to {directory} ({error.strerror}): mend release_notes_directory"
            ) from error
        return {"notes": asdict(notes), "files": [str(path) for path in files]}
