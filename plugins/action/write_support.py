# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a site's support archive, on the controller."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._files import write_file
from ansible_collections.slipway.release.plugins.module_utils._support_archive import SUFFIX, unpacked
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction


class ActionModule(ControllerAction):
    """Connects to nothing."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Write the archive, once it was read; fail with one line where that is impossible."""
        try:
            content = base64.b64decode(given["archive"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise SlipwayError("what came from the host is no archive in base64: run it again") from error
        support = unpacked(io.BytesIO(content), "what came from the host")
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{support.site}-{re.sub('[-:]', '', support.at)}").lstrip(".")
        path = Path(given["directory"]) / f"{stem}{SUFFIX}"
        if not self.check_mode:
            try:
                path.parent.parent.mkdir(parents=True, exist_ok=True)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                write_file(path, content)
            except OSError as error:
                raise SlipwayError(f"the archive cannot be written: {error.filename}: {error.strerror}") from error
        return {"changed": True, "path": str(path), "sha256": hashlib.sha256(content).hexdigest()}
