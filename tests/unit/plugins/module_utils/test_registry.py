"""Images by digest: what is named is pulled, once, and must be made of the release's commit."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._compose import Compose, Docker
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed, HostRunner
from ansible_collections.slipway.release.plugins.module_utils._registry import named, pull

pytestmark = pytest.mark.promise("D1")

COMMIT = "4" * 40
WEB = f"registry.example.test:5000/swarm/web@sha256:{'1' * 64}"
CACHE = f"registry.example.test:5000/redis@sha256:{'2' * 64}"


class Engine(HostRunner):
    """An engine that has a few images, and a registry that has others."""

    def __init__(
        self, here: Sequence[str] = (), there: Sequence[str] = (WEB, CACHE), revision: str = "<no value>"
    ) -> None:
        super().__init__()
        self.here, self.there, self.revision = set(here), there, revision
        self.pulled: list[str] = []

    def run(self, argv: Sequence[str], **given: Any) -> Completed:  # noqa: ANN401 - what the real one takes
        if argv[:3] == ["docker", "image", "pull"]:
            if argv[-1] not in self.there:
                raise CommandError(list(argv), 1, "a long story\nError response from daemon: no basic auth credentials")
            self.pulled.append(argv[-1])
            self.here.add(argv[-1])
            return Completed(0, f"{argv[-1]}\n", "")
        assert (argv[:4], "text" in given) == (["docker", "image", "inspect", "--format"], False)
        if argv[4] != "{{.Id}}":
            return Completed(0, f"{self.revision}\n", "")
        found = [f"sha256:id-of-{name[-1]}" for name in argv[5:] if name in self.here]
        return Completed(int(len(found) < len(argv[5:])), "".join(f"{name}\n" for name in found), "")


def compose() -> Compose:
    services: dict[str, dict[str, Any]] = {"web": {}, "worker": {}, "redis": {}}
    return cast(Compose, SimpleNamespace(config={"services": services}, built=lambda: ["web", "worker"]))


def test_each_image_is_pulled_once_and_its_id_is_that_of_each_service() -> None:
    engine = Engine()
    found = pull(engine, Docker(engine), {"web": WEB, "worker": WEB, "redis": CACHE}, COMMIT)
    assert found == {"web": "sha256:id-of-1", "worker": "sha256:id-of-1", "redis": "sha256:id-of-2"}
    assert engine.pulled == sorted([WEB, CACHE])


def test_what_is_here_is_not_asked_for() -> None:
    engine = Engine(here=[WEB], there=[])
    assert pull(engine, Docker(engine), {"web": WEB}, COMMIT) == {"web": "sha256:id-of-1"}
    assert engine.pulled == []


@pytest.mark.parametrize("revision", ["<no value>", "", COMMIT])
def test_an_image_may_say_which_commit_it_is_made_of(revision: str) -> None:
    engine = Engine(revision=revision)
    assert pull(engine, Docker(engine), {"web": WEB}, COMMIT)


def test_one_of_another_commit_is_refused() -> None:
    engine = Engine(revision="5" * 40)
    with pytest.raises(SlipwayError, match="is made of commit 555555555555, and the release is 444444444444"):
        pull(engine, Docker(engine), {"web": WEB}, COMMIT)


def test_what_cannot_be_pulled_is_told_with_the_registry_s_reason() -> None:
    engine = Engine(there=[])
    with pytest.raises(SlipwayError) as refused:
        pull(engine, Docker(engine), {"web": WEB}, COMMIT)
    told = str(refused.value)
    assert told.startswith(
        "registry.example.test:5000/swarm/web cannot be pulled (Error response from daemon: no basic"
    )
    assert "docker login" in told
    assert "\n" not in told


def test_a_release_is_built_where_no_image_is_named() -> None:
    assert named({}, "1.1.0", compose()) is None
    images = {"1.1.0": {"web": WEB, "worker": WEB}}
    assert named(images, "1.1.0", compose()) == images["1.1.0"]


@pytest.mark.parametrize(
    "images, reason",
    [
        ({"1.0.0": {"web": WEB, "worker": WEB}}, "has no entry for 1.1.0, only for 1.0.0"),
        ({"1.1.0": {"web": WEB}}, "names no image for worker, which would be built"),
        ({"1.1.0": {"web": WEB, "worker": WEB, "db": WEB}}, "names db, which Compose does not know"),
    ],
)
def test_half_of_a_release_is_none(images: dict[str, dict[str, str]], reason: str) -> None:
    with pytest.raises(SlipwayError, match=reason):
        named(images, "1.1.0", compose())
