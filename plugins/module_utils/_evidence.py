# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller knows of a release's gates, as it is handed to the host, which knows the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ._errors import SlipwayError

TESTS, REVIEW, CHANGELOG, NOTES, DOCUMENTATION, WINDOW = RELEASE_GATES = (
    "tests",
    "review",
    "changelog",
    "release_notes",
    "documentation",
    "window",
)


class EvidenceError(SlipwayError):
    """Evidence that is absent or cannot be used; the text says how to mend it."""


@dataclass(frozen=True)
class Claim:
    """What the controller says of one gate.

    :param ok: whether it holds as far as the controller can see; None when it need not hold.
    :param detail: what was seen, or what is wrong and how to mend it, or why it need not hold.
    :param commit: the commit that the evidence is for; None when it is for none.
    :param by: who decided that it need not hold; None when it was whoever runs this.
    """

    ok: bool | None
    detail: str
    commit: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class GateEvidence:
    """All that the controller knows of a release; about a gate without a claim only the host knows."""

    claims: Mapping[str, Claim] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping ready for JSON."""
        return {gate: asdict(claim) for gate, claim in self.claims.items()}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> GateEvidence:
        """Read what `to_dict` wrote."""
        try:
            return cls({gate: Claim(**claim) for gate, claim in mapping.items()})
        except (TypeError, AttributeError) as error:
            raise EvidenceError("evidence: is not what slipway.release.read_evidence returned: hand it on") from error
