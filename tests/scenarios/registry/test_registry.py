"""A release comes from a registry with a certificate of its own and a login: by digest, through the same deploy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from lab import registry
from lab.host import Host
from lab.swarm import OWNER, REPOSITORY
from lab.witness import Witness
from lab.writer import Writer
from tests.scenarios.conftest import Run, failed

Look = Callable[[], Witness]
Play = Callable[..., Run]

pytestmark = pytest.mark.promise("D1")

SITE = Host("site7")
INVENTORY = "molecule/registry/inventory"
MOVED = 50  # writes at the least while a release comes in or goes back
PLACE = f"{registry.NAME}/swarm"
# whoever builds has all of this elsewhere: nothing of it stays on the host
BUILD = f"""
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
git clone --quiet --branch 1.1.0 -c advice.detachedHead=false {REPOSITORY} "$work"
cd "$work"
export APP_VERSION=1.1.0 APPLICATION_HOST=x POSTGRES_PASSWORD=x SECRET_KEY_BASE=x OPERATOR_PASSWORD=x
docker compose build --quiet web
docker tag swarm:1.1.0 {PLACE}:good
other='FROM swarm:1.1.0\\nLABEL org.opencontainers.image.revision={"0" * 40}\\n'
printf "$other" | docker build --quiet --tag {PLACE}:other - >&2
"""
DIGEST = "docker image inspect --format '{{{{index .RepoDigests 0}}}}' {}"


@pytest.fixture(scope="session")
def site() -> str:
    return SITE.name


@pytest.fixture(scope="module")
def password() -> Iterator[str]:
    yield registry.start()
    registry.remove()


@pytest.fixture(scope="module")
def digests(password: str) -> dict[str, str]:
    """What lies in the registry: 1.1.0, and an image that says it is made of another commit."""
    registry.introduce(SITE)
    registry.login(SITE, password)
    SITE.sh(BUILD, user=OWNER)
    pushed = {}
    for name in ("good", "other"):
        SITE.sh(f"docker push --quiet {PLACE}:{name}")
        pushed[name] = SITE.sh(DIGEST.format(f"{PLACE}:{name}")).strip()
    # a tag means something else by the time that somebody pulls
    SITE.sh(f"docker tag {PLACE}:other {PLACE}:good && docker push --quiet {PLACE}:good")
    SITE.sh(f"docker image ls --quiet --no-trunc {PLACE} | sort -u | xargs docker image rm --force")
    SITE.sh("docker builder prune --all --force")
    SITE.sh(f"docker logout {registry.NAME}")
    assert PLACE not in SITE.sh("docker image ls --all --digests")
    return pushed


@pytest.fixture
def deploy(play: Play, digests: dict[str, str]) -> Callable[[str], Run]:
    def run(name: str) -> Run:
        images = {"1.1.0": dict.fromkeys(("web", "worker"), digests[name])}
        return play("deploy.yml", "-e", json.dumps({"release_images": images}), inventory=INVENTORY)

    return run


def test_who_is_not_logged_in_gets_nothing_and_nothing_is_touched(deploy: Callable[[str], Run], look: Look) -> None:
    before = look()
    run = deploy("good")
    assert run.returncode != 0
    told = " ".join(run.output.split())
    assert f"{PLACE} cannot be pulled" in told
    assert "no basic auth credentials" in told
    assert "1.0.0 runs as before" in told
    assert look() == before


def test_an_image_of_another_commit_is_not_the_release(deploy: Callable[[str], Run], look: Look, password: str) -> None:
    registry.login(SITE, password)
    before = look()
    run = deploy("other")
    assert run.returncode != 0
    assert "is made of commit 000000000000, and the release is " in " ".join(run.output.split())
    assert look() == before


@pytest.mark.promise("D4")
def test_the_release_is_what_the_digest_names_and_is_built_by_nobody(
    deploy: Callable[[str], Run], look: Look, digests: dict[str, str], writer: Writer
) -> None:
    with writer:
        run = deploy("good")
    assert run.returncode == 0, run.output
    # HAProxy is told where to send each request, and none fails
    assert failed(writer.writes()) == Counter()
    assert len(writer.writes()) > MOVED
    seen = look()
    assert seen.release == "1.1.0"
    image = SITE.sh(f"docker image inspect --format '{{{{.Id}}}}' {digests['good']}").strip()
    assert {item.image for item in seen.containers if item.running and item.service in {"web", "worker"}} == {image}
    assert seen.leftovers == []


@pytest.mark.promise("D4")
def test_what_stands_needs_no_registry_and_neither_does_the_way_back(
    deploy: Callable[[str], Run], play: Play, look: Look, writer: Writer
) -> None:
    registry.remove()
    again = deploy("good")
    assert (again.returncode, again.changed) == (0, 0), again.output
    with writer:
        back = play("rollback.yml", inventory=INVENTORY)
    assert back.returncode == 0, back.output
    assert failed(writer.writes()) == Counter()
    assert len(writer.writes()) > MOVED
    assert look().release == "1.0.0"
