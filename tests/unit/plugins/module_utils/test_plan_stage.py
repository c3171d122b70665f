"""What a release is built from: its own source, and the files that git has not where building looks for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger
from ansible_collections.slipway.release.plugins.module_utils._plan_stage import _Staging, export_source
from ansible_collections.slipway.release.plugins.module_utils._profile import Proxy
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("D1")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    directory, ledger = tmp_path / "app", Ledger(tmp_path / "ledger")
    (directory / "config").mkdir(parents=True)
    for name in (".env", ".env.production", "config/master.key"):
        (directory / name).write_text(name)

    def export(_commit: str, source: Path) -> None:
        source.mkdir(parents=True)
        (source / "compose.yml").write_text("services: {web: {build: ., env_file: [.env, .env.production]}}")
        (source / ".env.production").write_text("of git")

    with ledger.locked():
        pass
    made = SimpleNamespace(
        directory=directory,
        ledger=ledger,
        source=lambda version: ledger.release_directory(version) / "source",
        profile=SimpleNamespace(
            compose_files=("compose.yml",), env_file=".env", name="shop", proxy=Proxy(maintenance_page="page.html")
        ),
        env_file=SimpleNamespace(path=directory / ".env"),
        checkout=SimpleNamespace(export=export),
    )
    return cast("Site", made)


def test_env_files_that_git_has_not_are_found_and_those_that_it_has_are_its_own(site: Site) -> None:
    export_source(site, "1.1.0", "c" * 40)
    source = site.source("1.1.0")
    assert (source / ".env").read_text() == ".env"
    assert (source / ".env.production").read_text() == "of git"
    assert not (source / "config").exists()


def test_what_a_build_is_given_as_a_secret_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    export_source(site, "1.1.0", "c" * 40)
    way = _Staging(site, "1.1.0", "c" * 40)
    seen: list[str] = []

    def build(_compose: object) -> dict[str, str]:
        seen.append((way.source / "config/master.key").read_text())
        raise KeyboardInterrupt

    key, elsewhere = site.directory / "config/master.key", Path("/etc/hostname")
    model = {"secrets": {"key": {"file": str(key)}, "other": {"file": str(elsewhere)}, "typed": {"environment": "A"}}}
    stage = "ansible_collections.slipway.release.plugins.module_utils._plan_stage"
    monkeypatch.setattr(f"{stage}.Compose", lambda *_about: SimpleNamespace(config=model))
    monkeypatch.setattr(f"{stage}.missing_services", lambda *_about: [])
    monkeypatch.setattr(way, "_build_images", build)
    cast("Any", site).runner = None
    with pytest.raises(KeyboardInterrupt):
        way.build()
    assert seen == ["config/master.key"]
    assert sorted(path.name for path in way.source.iterdir()) == [".env", ".env.production", "compose.yml", "config"]


@pytest.mark.promise("D4")
def test_a_release_whose_maintenance_page_is_a_link_does_not_come_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_source(site, "1.1.0", "c" * 40)
    way = _Staging(site, "1.1.0", "c" * 40)
    (way.source / "page.html").symlink_to(".env")
    stage = "ansible_collections.slipway.release.plugins.module_utils._plan_stage"
    monkeypatch.setattr(f"{stage}.Compose", lambda *_about: SimpleNamespace(config={}))
    monkeypatch.setattr(f"{stage}.missing_services", lambda *_about: [])
    cast("Any", site).runner = None
    said = r"release 1\.1\.0 cannot show its maintenance page: .*page\.html is a link .* in the repository"
    with pytest.raises(SlipwayError, match=said):
        way.build()
