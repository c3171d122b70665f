"""What visitors are shown while nothing else answers: the application's own page, and never what a link leads to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _maintenance
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._maintenance import show_page
from ansible_collections.slipway.release.plugins.module_utils._profile import Proxy
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("D4")
RELEASE = Release("1.1.0", "c" * 40, {"web": "sha256:web"}, {}, [])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    page = SimpleNamespace(id="page", name="swarm-maintenance", running=True)
    traffic = SimpleNamespace(move=lambda _containers: None, targets=lambda: None)
    monkeypatch.setattr(_maintenance, "traffic_of", lambda _site: traffic)
    config = {"services": {"web": {}}, "networks": {"default": {"name": "swarm_default"}}}
    (tmp_path / "app/public").mkdir(parents=True)
    (tmp_path / "app/.env").write_text("KEY=secret")
    (tmp_path / "state").mkdir()
    made = SimpleNamespace(
        ledger=Ledger(tmp_path / "state"),
        directory=tmp_path / "app",
        profile=SimpleNamespace(
            name="swarm",
            services=SimpleNamespace(web="web"),
            proxy=Proxy(maintenance_page="public/page.html"),
            web_port=3000,
        ),
        compose_of=lambda _release: SimpleNamespace(config=config),
        docker=SimpleNamespace(labelled_containers=lambda _label: [page], logs=lambda _container: "ready"),
        runner=SimpleNamespace(run=lambda _argv: None),
    )
    return cast("Site", made)


def shown(site: Site) -> tuple[str, dict[str, object]]:
    """What visitors see, and what the journal says."""
    told = show_page(site, RELEASE, lambda: True).apply()
    return (site.ledger.root / "maintenance.html").read_text(), told or {}


def test_the_application_s_own_page_is_shown_where_it_has_one(site: Site) -> None:
    assert "Back in a moment" in shown(site)[0]
    (site.directory / "public/page.html").write_text("our own")
    assert shown(site) == ("our own", {})


def test_a_link_keeps_no_way_back_from_going_on_and_nobody_sees_what_it_leads_to(site: Site) -> None:
    (site.directory / "public/page.html").symlink_to("../.env")
    page, told = shown(site)
    assert "Back in a moment" in page
    assert "secret" not in page
    assert "public/page.html is a link or no regular file" in str(told["plain_page"])
