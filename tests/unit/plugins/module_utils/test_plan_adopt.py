"""What is adopted can be returned to: each service of its code has an image on record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.slipway.release.plugins.module_utils._containers import Containers
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._plan_adopt import observe_release
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.application import PROFILE
from tests.unit.plugins.module_utils.host import Host, container

pytestmark = pytest.mark.promise("M4")


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def site(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> Site:
    profile = replace(Profile.parse(PROFILE), directory=str(tmp_path), state_directory=str(tmp_path / "state"))
    (tmp_path / "compose.yml").touch()
    made = Site(profile, runner=host)
    made.env_file.path.write_text(f"{profile.version_variable}=1.0.0\n")
    monkeypatch.setattr(type(made.checkout), "head", lambda _self: "a" * 40)
    monkeypatch.setattr(type(made.checkout), "exists", True)
    monkeypatch.setattr(Site, "database", SimpleNamespace(migrations=list))
    return made


def test_a_service_that_is_down_belongs_to_what_is_adopted(site: Site, host: Host) -> None:
    host.containers[3]["State"]["Status"] = "exited"
    release = observe_release(site)
    assert release.images["worker"] == "sha256:worker"
    assert Containers(site, release, "worker").waiting()


def test_what_lies_stopped_beside_the_running_ones_does_not(site: Site, host: Host) -> None:
    host.containers.append({**container("web", 3, state="exited"), "Image": "sha256:older"})
    assert observe_release(site).images["web"] == "sha256:web"


def test_code_without_an_image_is_refused(site: Site, host: Host) -> None:
    del host.containers[3]
    with pytest.raises(SlipwayError, match="service worker has no container, so that there is no way back") as caught:
        observe_release(site)
    assert "\n" not in str(caught.value)


def test_one_that_was_adopted_without_it_before_says_what_lacks(site: Site) -> None:
    release = observe_release(site)
    images = {name: image for name, image in release.images.items() if name != "worker"}
    with pytest.raises(SlipwayError, match=r"release 1\.0\.0 has no image of service worker on record"):
        Containers(site, replace(release, images=images), "worker").own()
