"""Release notes for customers, as they are read."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._changelog import CustomerNotes
from ansible_collections.slipway.release.plugins.plugin_utils._release_notes import WIDTH, as_markdown, as_text

pytestmark = pytest.mark.promise("G4")

NOTES = CustomerNotes(
    "1.2.0",
    "2026-11-20",
    new=("Campaigns have a **priority**, see [the manual](https://swarm.example/manual).", "Another " + "word " * 30),
    action_required=("Allow port `8443`.",),
)


def test_what_has_to_be_done_comes_first_and_what_is_empty_is_left_out() -> None:
    assert as_markdown("swarm", NOTES).startswith(
        "# swarm 1.2.0 of 2026-11-20\n\n## What you have to do\n\n- Allow port `8443`.\n\n## What is new\n\n- Campaigns"
    )
    assert "no longer works" not in as_markdown("swarm", NOTES)


def test_plain_text_has_no_markup_and_fits() -> None:
    text = as_text("swarm", NOTES)
    assert "What you have to do:\n- Allow port 8443.\n" in text
    assert "a priority, see the manual" in text
    assert "(https://swarm.example/manual)." in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "\n  word" in text
