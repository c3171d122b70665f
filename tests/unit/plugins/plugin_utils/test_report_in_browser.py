"""The page of a release as a browser shows it on a telephone and prints it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.plugin_utils._report_page import render

from tests.unit.plugins.module_utils.ledger_story import FEEDBACK, months
from tests.unit.plugins.plugin_utils import browser
from tests.unit.plugins.plugin_utils.test_report_page import TEMPLATE, report

PROGRAM = browser.binary()
TELEPHONE = 390  # CSS pixels
BAD = """<!doctype html><meta name=viewport content="width=device-width"><title>bad</title>
<div style="width: 900px">wide</div><img src="http://127.0.0.1:9/x.png"><script>console.error("no")</script>"""

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: apt-get install chromium-headless-shell"),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    assert PROGRAM
    with browser.running(PROGRAM, tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_a_page_fits_a_telephone_and_paper_and_asks_nobody(chromium: browser.Browser, tmp_path: Path) -> None:
    story = months(tmp_path / "site")
    for version in ("1.1.0", "1.2.0"):
        page = tmp_path / f"{version}.html"
        page.write_text(render(TEMPLATE, report(story, version, FEEDBACK if version == "1.1.0" else None)))
        seen = browser.look(chromium, page, TELEPHONE)
        for medium, (content, screen) in seen.widths.items():
            assert content <= screen == TELEPHONE, (version, medium)
        assert (seen.requests, seen.complaints) == ([], []), version
        assert seen.pdf.startswith(b"%PDF-")
        assert len(seen.pdf) > 10_000


def test_a_page_that_does_none_of_it_is_found_out(chromium: browser.Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(BAD)
    seen = browser.look(chromium, page, TELEPHONE)
    assert seen.widths["screen"][0] >= 900
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert any('"no"' in item for item in seen.complaints)
