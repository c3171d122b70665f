"""What the tests of the announcements share: a customer, and what is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.slipway.release.plugins.module_utils._clock import Clock

ROOT = Path(__file__).parents[4]
TEMPLATES = ROOT / "roles/announce/templates"
ANNA, BEN = "anna.canary@customer.example", "ben.canary@customer.example"
NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
WINDOW = {"from": "2026-12-01T22:00+01:00", "until": "2026-12-01T23:30+01:00"}
SUPPORT = {
    "contact": "support@vendor.example, +49 30 1234",
    "hours": "on working days from 8 to 18",
    "feedback": "https://vendor.example/feedback",
}
CHANGELOG = """
## [1.2.0] - 2026-11-20

### Added
- Campaigns have a **priority**.

### Breaking
- `/api/v1` is gone.

### Action required
- Allow port 8443.

### Known issues
- Exports of more than 10,000 rows are slow.

## [1.1.0] - 2026-10-01
- Older things.
"""


def clock(moment: datetime = NOW) -> Clock:
    """A clock that stands."""
    return Clock(now=lambda: moment)


def given(directory: Path, **changes: object) -> dict[str, Any]:
    """The variables of the role for the notes of 1.2.0 as a file."""
    (directory / "CHANGELOG.md").write_text(CHANGELOG)
    plain: dict[str, Any] = {
        "event": "notes",
        "site": "customer-a",
        "application": "swarm",
        "product": "Swarm",
        "release": "1.2.0",
        "window": WINDOW,
        "changelog": str(directory / "CHANGELOG.md"),
        "support": SUPPORT,
        "channels": {"file": str(directory / "handover")},
        "outbox": str(directory / "outbox"),
        "templates": str(TEMPLATES),
        "preview": False,
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}
