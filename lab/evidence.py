"""What a CI and a reviewer would leave for the gates of each release in a host's repository."""

from __future__ import annotations

import json
import shutil

from lab._common import BUILD
from lab.host import Host
from lab.swarm import REPOSITORY

EVIDENCE = BUILD / "evidence"
WHEN = "2026-07-01T12:00:00Z"
TAGS = (
    "git -C {repository} -c safe.directory='*' for-each-ref "
    "--format='%(refname:short) %(objectname) %(*objectname)' refs/tags"
)
# Shell, in a work tree: what the gates want of the source of a release that a test makes.
PAPERS = r"""
sed -i "0,/^## \[/s//## [{version}] - 2026-07-01\n\n### Changed\n\n- Nothing that anybody sees.\n\n&/" CHANGELOG.md
mkdir -p docs/customers
echo "Everything works as before." >"docs/customers/{version}.md"
"""


def write(host: Host, repository: str = REPOSITORY) -> None:
    """Write evidence for every release that a repository of the host has, where its inventory looks for it."""
    shutil.rmtree(EVIDENCE / host.name, ignore_errors=True)
    for line in host.sh(TAGS.replace("{repository}", repository)).splitlines():
        # an annotated tag's own id is no commit: the last one is
        version, *_, commit = line.split()
        directory = EVIDENCE / host.name / version
        directory.mkdir(parents=True)
        url = f"https://ci.example.test/swarm/{commit[:12]}"
        attestation = {"format": 1, "commit": commit, "result": "passed", "when": WHEN, "url": url}
        review = {"commit": commit, "reviewer": "the lab", "kind": "self", "when": WHEN}
        (directory / "attestation.json").write_text(json.dumps(attestation, indent=1) + "\n")
        (directory / "review.json").write_text(json.dumps(review, indent=1) + "\n")
