# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a release as a bundle, on the controller."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import opened
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import commands
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import write_bundle
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.plugin_utils._bundle_contents import Release, files_of, gather
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction


class ActionModule(ControllerAction):
    """Connects to no host."""

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Write and verify the bundle; fail with one line."""
        try:
            return {"changed": True, **_written(given, check=self.check_mode)}
        except OSError as error:
            raise SlipwayError(str(error)) from error


def _written(given: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Write what the arguments say and read it back as a site does; what there is to tell of it."""
    runner = HostRunner()
    profile = Profile.parse(given["application"])
    sums, signers = Path(given["path"]), Path(given["signers"])
    release = Release(
        version=given["version"],
        source=Path(given["source"]),
        environment={name: str(value) for name, value in given["environment"].items()},
        library=Path(given["library"]),
        files=files_of(given["files"]),
        pythons=given["pythons"],
        wheels=Path(given["wheels"]) if given["wheels"] else None,
        evidence=Path(given["evidence"]) if given["evidence"] else None,
    )
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=sums.parent, prefix=".slipway-")))
        base = stack.enter_context(opened(runner, Path(given["base"]), signers)) if given["base"] else None
        warnings: list[str] = []
        contents = gather(runner, profile, release, scratch, base.manifest if base else None, warnings.append)
        ids = {name: f"sha256:{image.id}" for image in contents.saved.images for name in image.references}
        told: dict[str, Any] = {"images": {service: ids[name] for service, name in contents.services.items()}}
        if warnings:
            told["warnings"] = warnings
        if check:
            return told
        write_bundle(
            runner,
            contents,
            sums,
            Path(given["key"]),
            scratch,
            part=given["part_size"],
            base=base,
            level=given["level"],
        )
        stack.enter_context(opened(runner, sums, signers))
    size = sum(path.stat().st_size for path in sums.parent.glob(f"{sums.stem}.[0-9]*"))
    return {**told, "commands": commands(sums.name, signers.name), "size": size}
