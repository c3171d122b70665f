# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures that `ssh-keygen -Y sign` makes, checked against a file of allowed signers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.slipway.release.plugins.module_utils._evidence import EvidenceError

NAMESPACE = "slipway"
_TIMEOUT = 20


def signer_of(content: bytes, signature: Path, allowed: Path) -> str:
    """Who signed `content`, by the name in the file of allowed signers.

    :raises EvidenceError: nobody who may.
    """
    if not allowed.is_file():
        raise EvidenceError(f"{allowed} is not there: mend release_allowed_signers")
    if not signature.is_file():
        raise EvidenceError(f"{signature} is not there: sign with 'ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE'")
    found = _ssh_keygen("find-principals", "-s", str(signature), "-f", str(allowed)).stdout.decode(errors="replace")
    for name in found.splitlines():
        given = ("-f", str(allowed), "-I", name, "-n", NAMESPACE, "-s", str(signature))
        if _ssh_keygen("verify", *given, content=content).returncode == 0:
            return name
    raise EvidenceError(f"{signature} is not by anybody in {allowed}, or not for this file")


def _ssh_keygen(*arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", "-Y", *arguments]
    try:
        return subprocess.run(command, input=content, capture_output=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EvidenceError(f"ssh-keygen on this controller does not answer ({type(error).__name__})") from None
