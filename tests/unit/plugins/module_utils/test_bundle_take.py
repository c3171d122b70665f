"""A site takes a bundle: what it gets, what it refuses, and how the release comes in then."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _bundle_load, _bundle_take
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import architecture
from ansible_collections.slipway.release.plugins.module_utils._bundle_take import brought_images, take
from ansible_collections.slipway.release.plugins.module_utils._compose import Compose, Docker
from ansible_collections.slipway.release.plugins.module_utils._errors import LockedError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._git import Checkout
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger, Release
from ansible_collections.slipway.release.plugins.module_utils._plan_stage import _Staging
from ansible_collections.slipway.release.plugins.module_utils._site import Site

from tests.unit.plugins.module_utils.bundles import COMMIT, RUNNER, Files, Made, make, swarm


class Taking:
    """A site whose engine takes what it is sent."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (directory / "engine").mkdir()
        self.engine = Files(directory / "engine")
        self.ledger = Ledger(directory / "state/swarm")
        with self.ledger.locked():
            pass
        self.site = cast(
            "Site",
            SimpleNamespace(
                ledger=self.ledger,
                runner=self.engine,
                docker=Docker(self.engine),
                profile=SimpleNamespace(name="swarm", images={}),
                kept_name=lambda service, version: f"slipway/swarm-{service}:{version}",
            ),
        )
        asked = _bundle_load.Engine

        def look(runner: Files) -> _bundle_load.Engine:
            runner.take()
            return asked(runner)

        monkeypatch.setattr(_bundle_load, "Engine", look)
        monkeypatch.setattr(_bundle_take, "Engine", look)

    def take(self, made: Made, *, check: bool = False) -> dict[str, object]:
        return take(self.site, made.sums, made.signers, check=check)

    @property
    def files(self) -> set[str]:
        return {str(path.relative_to(self.ledger.root)) for path in self.ledger.root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("bundle") / "made", files={"source.bundle": b"# v2 git bundle\n"})


@pytest.fixture
def taking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taking:
    return Taking(tmp_path, monkeypatch)


IDS = {"web": f"sha256:{swarm()[0].id}", "redis": f"sha256:{swarm()[1].id}"}


def test_a_run_between_two_of_its_calls_is_waited_for(made: Made, taking: Taking) -> None:
    """Its next call would find the site taken, and the release would go back."""
    with taking.ledger.locked():
        run = taking.ledger.open_run("r1", "deploy", "anna@controller", "1.0.0", 900)
    with pytest.raises(LockedError, match=r"a run has this site: .*anna@controller"):
        taking.take(made)
    assert taking.engine.tags == {}
    # looking takes nothing
    assert taking.take(made, check=True)["changed"]
    with taking.ledger.locked():
        taking.ledger.update(run=replace(run, last_seen=0.0, boot=""))
    assert taking.take(made)["changed"]


@pytest.mark.promise("X1")
def test_a_bundle_is_taken_once(made: Made, taking: Taking) -> None:
    told = taking.take(made)
    assert {**told, "loaded": sorted(cast("list[str]", told["loaded"]))} == {
        "changed": True,
        "version": "1.1.0",
        "commit": COMMIT,
        "loaded": ["redis:8", "swarm:1.1.0"],
    }
    # names of our own alone: what Compose knows by one runs until the switch
    assert taking.engine.tags == {f"slipway/swarm-{service}:1.1.0": image for service, image in IDS.items()}
    source = taking.ledger.root / "source.bundle"
    assert source.read_bytes() == b"# v2 git bundle\n"
    assert source.stat().st_mode & 0o777 == 0o644
    assert brought_images(taking.ledger, "1.1.0", COMMIT) == IDS
    assert brought_images(taking.ledger, "1.1.0", "5" * 40) is None
    assert taking.files == {"lock", "source.bundle", "releases/1.1.0/bundle.json"}
    assert taking.take(made) == {"changed": False, "version": "1.1.0", "commit": COMMIT, "loaded": []}


@pytest.mark.promise("X1")
def test_programs_for_this_host_s_architecture_are_kept(taking: Taking, tmp_path: Path) -> None:
    other = "arm64" if architecture() == "amd64" else "amd64"
    files = {f"helpers/{architecture()}/age": b"ours", f"helpers/{other}/age": b"theirs", "source.bundle": b"# v2\n"}
    taking.take(make(tmp_path / "brings", files=files))
    assert {name for name in taking.files if name.startswith("helpers/")} == {"helpers/age"}
    age = taking.ledger.root / "helpers/age"
    assert (age.read_bytes(), age.stat().st_mode & 0o777) == (b"ours", 0o755)
    # the next bundle's takes its place
    files[f"helpers/{architecture()}/age"] = b"newer"
    taking.take(make(tmp_path / "next", "1.2.0", files=files))
    assert age.read_bytes() == b"newer"


def test_looking_changes_nothing(made: Made, taking: Taking) -> None:
    told = taking.take(made, check=True)
    assert told["changed"]
    assert len(cast("list[str]", told["loaded"])) == len(IDS)
    assert taking.files == {"lock"}
    assert not taking.engine.pictures


@pytest.mark.promise("X4")
def test_what_is_refused_changes_nothing(made: Made, taking: Taking, tmp_path: Path) -> None:
    with taking.ledger.locked():
        taking.ledger.update(current="1.2.0")
    before = taking.files
    with pytest.raises(BundleError, match=r"older than 1\.2\.0"):
        taking.take(made)
    bad = made.copy(tmp_path / "bad")
    bad.flip(3000)
    with pytest.raises(BundleError, match="not what was signed"):
        taking.take(bad)
    assert taking.files == before
    assert not taking.engine.pictures
    assert not taking.engine.tags


def test_a_version_is_used_once(made: Made, taking: Taking) -> None:
    with taking.ledger.locked():
        taking.ledger.save_release(Release("1.1.0", COMMIT, {**IDS, "web": "sha256:built here"}, {}, []))
    with pytest.raises(BundleError, match="is here already with other images"):
        taking.take(made)
    assert not taking.engine.tags
    with taking.ledger.locked():
        taking.ledger.save_release(Release("1.1.0", COMMIT, IDS, {}, []))
    assert taking.take(made)["changed"]


class Compiler:
    """Compose as staging sees it."""

    references = {"web": "swarm:1.1.0", "redis": "redis:8"}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.builds = 0

    def built(self) -> bool:
        return True

    def build(self) -> None:
        self.builds += 1


def test_staging_names_the_images_of_a_bundle_and_builds_none(made: Made, taking: Taking) -> None:
    taking.take(made)
    compose = Compiler()
    found = staging(taking, COMMIT)._build_images(cast("Compose", compose))
    assert (found, compose.builds) == (IDS, 0)
    assert {name: taking.engine.tags[name] for name in compose.references.values()} == {
        "swarm:1.1.0": IDS["web"],
        "redis:8": IDS["redis"],
    }
    taking.engine.pictures.clear()
    with pytest.raises(SlipwayError, match=r"the image of web, redis that the bundle of 1\.1\.0 brought is not here"):
        staging(taking, COMMIT)._build_images(cast("Compose", compose))


def test_another_commit_of_the_same_version_is_built(made: Made, taking: Taking) -> None:
    taking.take(made)
    compose = Compiler()
    with pytest.raises(SlipwayError, match="is not on this host"):
        staging(taking, "5" * 40)._build_images(cast("Compose", compose))
    assert compose.builds == 1


def staging(taking: Taking, commit: str) -> _Staging:
    way = _Staging.__new__(_Staging)
    way.site, way.version, way.commit = taking.site, "1.1.0", commit
    return way


@pytest.mark.parametrize("files, built", [(["compose.yml"], True), (None, True), (["compose.yml", "more.yml"], False)])
def test_a_release_that_is_to_be_made_of_other_compose_files_is_staged_anew(
    taking: Taking, files: list[str] | None, *, built: bool
) -> None:
    profiles = None if files is None else list[str]()
    vars(taking.site)["profile"] = SimpleNamespace(compose_files=("compose.yml",), compose_profiles=())
    with taking.ledger.locked():
        release = Release("1.1.0", COMMIT, {}, {}, [], compose_files=files, compose_profiles=profiles)
        taking.ledger.save_release(release)
    assert staging(taking, COMMIT).built() == built


def test_git_finds_the_release_in_the_file(tmp_path: Path) -> None:
    origin = tmp_path / "origin"

    def git(*arguments: str) -> str:
        author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = subprocess.run(["git", *author, *arguments], cwd=origin, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    origin.mkdir()
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=one")
    git("tag", "1.1.0")
    git("bundle", "create", "--quiet", str(tmp_path / "source.bundle"), "refs/tags/1.1.0")
    checkout = Checkout(RUNNER, tmp_path / "site", str(tmp_path / "source.bundle"))
    commit = checkout.remote_commit("1.1.0")
    assert commit == git("rev-parse", "HEAD")
    assert checkout.remote_commit("1.2.0") is None
    checkout.fetch()
    assert checkout.has_commit(commit)
    checkout.check_out(commit)
    assert checkout.is_at(commit)
