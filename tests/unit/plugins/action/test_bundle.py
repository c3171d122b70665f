"""Real runs of ansible-playbook: a release becomes a bundle on the controller, with an engine that is a script."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.action import bundle as action
from ansible_collections.slipway.release.plugins.module_utils import _bundle_controller
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import opened
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.plugin_utils._bundle_contents import frontends

from tests.unit.plugins.action import unreachable
from tests.unit.plugins.module_utils.bundles import RUNNER, Made, keys, saved_by_docker, swarm

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: slipway.release.bundle
      run_once: true
      vars: {variables}
"""
# answers as docker does: its images by name, and what its Compose files come to when a secret of theirs is given
DOCKER = """#!/bin/sh
echo "$@" >>HERE/asked
case "$*" in
*"compose "*config*)
  for word; do case $last in --env-file) . "$word";; esac; last=$word; done
  grep -q "^SWARM_VERSION=1.1.0" HERE/out/.slipway-*/tree/.env || { echo 'env file .env not found' >&2; exit 1; }
  [ "$SWARM_SECRET" = "not-in-the-bundle" ] || { echo 'SWARM_SECRET must be set' >&2; exit 1; }
  sed "s/VERSION/$SWARM_VERSION/g" HERE/model.json;;
"image inspect"*)
  shift 4
  for word; do grep "^$word=" HERE/images | cut -d= -f2 | grep . || exit 1; done;;
"image save"*) cat HERE/saved.tar;;
*) exit 9;;
esac
"""


def git(directory: Path, *arguments: str) -> str:
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(["git", *author, *arguments], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Shop:
    """A controller with all that a bundle needs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.source = directory / "source"
        self.source.mkdir()
        git(self.source, "init", "--quiet", "--initial-branch=main")
        (self.source / "compose.yml").write_text("services: {}\n")
        git(self.source, "add", ".")
        git(self.source, "commit", "--quiet", "--message=one")
        git(self.source, "tag", "--annotate", "--message=one", "1.1.0")
        self.library = directory / "library"
        git(directory, "clone", "--quiet", str(self.source), str(self.library))
        wheels = directory / "wheels"
        wheels.mkdir()
        (wheels / "jinja2-3.1.6-py3-none-any.whl").write_bytes(b"wheel")
        keys(directory, "key")
        self.out = directory / "out"
        self.out.mkdir()
        names = {"web": "swarm:VERSION", "worker": "swarm:VERSION", "redis": "redis:8"}
        services = {service: {"image": image} for service, image in names.items()}
        (directory / "model.json").write_text(json.dumps({"services": services}))
        self.images = {picture.reference: f"sha256:{picture.id}" for picture in swarm()}
        (directory / "saved.tar").write_bytes(saved_by_docker(*swarm()))
        (directory / "bin").mkdir()
        program = directory / "bin/docker"
        program.write_text(DOCKER.replace("HERE", str(directory)))
        program.chmod(0o700)

    def write(self, **changes: object) -> dict[str, Any]:
        """Write the bundle as the action does, without Ansible around it."""
        self.tell_images()
        given = {
            "application": PROFILE,
            "environment": ENVIRONMENT,
            "version": "1.1.0",
            "source": str(self.source),
            "library": str(self.library),
            "files": [{"src": str(self.directory / "wheels"), "dest": "wheels"}],
            "path": str(self.made.sums),
            "key": str(self.directory / "key"),
            "signers": str(self.made.signers),
            "pythons": [],
            "wheels": None,
            "evidence": None,
            "part_size": 1 << 30,
            "level": 1,
            "base": None,
            **changes,
        }
        return action._written(given, check=False)

    def commit_library(self) -> Path:
        """Let the library be what a controller is made of, and one package what it needs; returns where that lies."""
        modules = self.library / "plugins/module_utils"
        modules.mkdir(parents=True)
        for path in Path(_bundle_controller.__file__).parent.glob("_*.py"):
            (modules / path.name).write_text(path.read_text())
        index = self.directory / "index"
        index.mkdir()
        package = index / "thing-1.0-py3-none-any.whl"
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
            archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        (self.library / "requirements-run.lock").write_text(f"thing==1.0 --hash=sha256:{digest}\n")
        git(self.library, "add", ".")
        git(self.library, "commit", "--quiet", "--message=two")
        return index

    def tell_images(self) -> None:
        told = "".join(f"{name}={image}\n" for name, image in self.images.items())
        (self.directory / "images").write_text(told)

    def play(self, *options: str) -> subprocess.CompletedProcess[str]:
        self.tell_images()
        variables = {
            "application": PROFILE,
            "application_environment": ENVIRONMENT,
            "release_version": "1.1.0",
            "bundle_source": str(self.source),
            "bundle_library": str(self.library),
            "bundle_directory": str(self.out),
            "bundle_key": str(self.directory / "key"),
            "bundle_signers": str(self.directory / "allowed_signers"),
            "bundle_files": [{"src": str(self.directory / "wheels"), "dest": "wheels"}],
            "bundle_pythons": [],
        }
        return unreachable.play(self.directory, PLAYBOOK.replace("{variables}", json.dumps(variables)), *options)

    @property
    def made(self) -> Made:
        made = Made(self.out)
        made.sums, made.signers = self.out / "swarm-1.1.0.sums", self.directory / "allowed_signers"
        return made


ENVIRONMENT = {"SWARM_SECRET": "not-in-the-bundle"}
PROFILE = {
    "directory": "/srv/swarm",
    "name": "swarm",
    "version_variable": "SWARM_VERSION",
    "repository": {"url": "/srv/git/swarm.git"},
    "services": {"web": "web", "worker": "worker", "database": "postgres", "cache": "redis"},
    "database": {"name": "swarm", "user": "swarm"},
    "base_url": "http://127.0.0.1:8080",
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return made


@pytest.mark.promise("X1")
def test_a_bundle_holds_what_the_release_needs(shop: Shop) -> None:
    done = shop.play()
    assert done.returncode == 0, done.stdout
    assert "ssh-keygen -Y verify" in done.stdout
    assert "sha256sum -c swarm-1.1.0.sums" in done.stdout
    with opened(RUNNER, shop.made.sums, shop.made.signers) as bundle:
        manifest = bundle.manifest
        assert manifest.services == {"web": "swarm:1.1.0", "worker": "swarm:1.1.0", "redis": "redis:8"}
        assert {image.id for image in manifest.images} == {picture.id for picture in swarm()}
        assert manifest.commit == git(shop.source, "rev-parse", "1.1.0^{commit}")
        bundle.unpack(shop.directory / "unpacked")
    unpacked = shop.directory / "unpacked"
    assert git(unpacked, "ls-remote", "source.bundle").split() == [manifest.commit, "refs/tags/1.1.0"]
    clone = shop.directory / "clone"
    git(shop.directory, "clone", "--quiet", "--branch=1.1.0", str(unpacked / "source.bundle"), str(clone))
    assert (clone / "compose.yml").read_text() == "services: {}\n"
    with tarfile.open(unpacked / "slipway.tar") as archive:
        assert archive.getnames() == ["compose.yml"]
    assert (unpacked / "wheels/jinja2-3.1.6-py3-none-any.whl").read_bytes() == b"wheel"
    purls = {item.get("purl") for item in json.loads((unpacked / "sbom.cdx.json").read_text())["components"]}
    assert "pkg:pypi/jinja2@3.1.6" in purls
    held = b"".join(content for path in unpacked.rglob("*") if path.is_file() for content in [path.read_bytes()])
    assert b"not-in-the-bundle" not in held
    assert sorted(path.name for path in shop.out.iterdir()) == [
        "swarm-1.1.0.001",
        "swarm-1.1.0.sums",
        "swarm-1.1.0.sums.sig",
    ]
    assert git(shop.source, "worktree", "list").count("\n") == 0


def test_the_same_release_gives_the_same_bundle(shop: Shop) -> None:
    shop.write()
    first = {path.name: path.read_bytes() for path in shop.out.iterdir()}
    for path in shop.out.iterdir():
        path.unlink()
    shop.write()
    assert {path.name: path.read_bytes() for path in shop.out.iterdir()} == first


@pytest.mark.promise("X1")
def test_what_a_first_controller_is_made_of_goes_in_and_evidence(shop: Shop) -> None:
    evidence = shop.directory / "evidence"
    (evidence / "1.1.0").mkdir(parents=True)
    (evidence / "1.1.0/review.json").write_text("{}")
    (evidence / "1.0.0").mkdir()
    (evidence / "1.0.0/review.json").write_text("{}")
    made: dict[str, object] = {"pythons": ["3.12", "3.13"], "wheels": str(shop.commit_library()), "files": []}
    shop.write(**made, evidence=str(evidence))
    with opened(RUNNER, shop.made.sums, shop.made.signers) as bundle:
        paths = [file.path for file in bundle.manifest.files]
        bundle.unpack(shop.directory / "unpacked")
    own = ["controller.py", "evidence/1.1.0/review.json", "sbom.cdx.json", "slipway.tar", "source.bundle"]
    assert paths == [*own, "wheels/thing-1.0-py3-none-any.whl"]
    first = subprocess.run(
        ["tar", "-xOf", "swarm-1.1.0.001", "--occurrence=1", "controller.py"],
        cwd=shop.out,
        capture_output=True,
        check=True,
    )
    assert first.stdout == (shop.directory / "unpacked/controller.py").read_bytes()

    # the difference to it brings the program again, and no package
    second = shop.out / "difference.sums"
    shop.write(**made, path=str(second), base=str(shop.made.sums))
    with opened(RUNNER, second, shop.made.signers) as bundle:
        paths = [file.path for file in bundle.manifest.files]
    assert paths == ["controller.py", "sbom.cdx.json", "slipway.tar", "source.bundle"]


def test_check_mode_writes_nothing(shop: Shop) -> None:
    done = shop.play("--check")
    assert done.returncode == 0, done.stdout
    assert list(shop.out.iterdir()) == []


@pytest.mark.promise("X1")
def test_an_image_that_is_not_here_is_named(shop: Shop) -> None:
    del shop.images["redis:8"]
    done = shop.play()
    assert done.returncode != 0
    assert "redis:8 is not on this machine: build or pull it before it is bundled" in done.stdout
    assert "Traceback" not in done.stdout
    assert list(shop.out.iterdir()) == []


@pytest.mark.promise("X2")
@pytest.mark.parametrize(
    "text, args, image",
    [
        ("# syntax=docker/dockerfile:1.7\nFROM ruby\n", {}, "docker/dockerfile:1.7"),
        ("# escape=`\n#Syntax = docker/dockerfile:1\nFROM ruby\n", {}, "docker/dockerfile:1"),
        ("FROM ruby\n", {"BUILDKIT_SYNTAX": "docker/dockerfile:2"}, "docker/dockerfile:2"),
        ("# the syntax is plain\n# syntax=docker/dockerfile:1\nFROM ruby\n", {}, None),
        ("FROM ruby\n# syntax=docker/dockerfile:1\n", {}, None),
        ("", {}, None),
    ],
)
def test_a_dockerfile_whose_build_asks_a_registry_is_named(
    tmp_path: Path, text: str, args: dict[str, str], image: str | None
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/Dockerfile.web").write_text(text)
    build = {"context": str(tmp_path / "web"), "dockerfile": "Dockerfile.web", "args": args}
    services = {"worker": {"image": "a", "build": build}, "web": {"build": build}, "redis": {"image": "redis:8"}}
    told = frontends({"services": services}, tmp_path)
    assert [line.partition(",")[0] for line in told] == (
        [f"Dockerfile.web of web names {image} as its syntax"] if image else []
    )
    if not args:
        inline = {"context": str(tmp_path), "dockerfile_inline": text}
        assert len(frontends({"services": {"web": {"build": inline}}}, tmp_path)) == bool(image)


@pytest.mark.promise("X2")
def test_a_bundle_is_written_with_a_warning_about_such_a_dockerfile(shop: Shop) -> None:
    model = json.loads((shop.directory / "model.json").read_text())
    model["services"]["web"]["build"] = {"dockerfile_inline": "# syntax=docker/dockerfile:1\n"}
    (shop.directory / "model.json").write_text(json.dumps(model))
    done = shop.play()
    assert done.returncode == 0, done.stdout
    told = " ".join(done.stdout.split())
    assert "[WARNING]: dockerfile_inline of web names docker/dockerfile:1 as its syntax" in told
    assert shop.made.sums.exists()


CHANGELOG = """# Changelog

## [1.1.0] - 2026-11-20

### Added

- Campaigns can be paused.

### Internal

- Another linter.
"""


def with_changelog(shop: Shop, text: str) -> None:
    (shop.source / "CHANGELOG.md").write_text(text)
    git(shop.source, "add", ".")
    git(shop.source, "commit", "--quiet", "--message=two")
    git(shop.source, "tag", "--force", "1.1.0")


def notes_in(shop: Shop) -> dict[str, str]:
    with opened(RUNNER, shop.made.sums, shop.made.signers) as bundle:
        bundle.unpack(shop.directory / "unpacked", "release-notes")
    return {path.name: path.read_text() for path in (shop.directory / "unpacked").iterdir()}


@pytest.mark.promise("X1")
def test_release_notes_for_customers_go_in(shop: Shop) -> None:
    with_changelog(shop, CHANGELOG)
    shop.write()
    notes = notes_in(shop)
    assert sorted(notes) == ["release-notes.md", "release-notes.txt"]
    for text in notes.values():
        assert text.splitlines()[0].endswith("swarm 1.1.0 of 2026-11-20")
        assert "Campaigns can be paused." in text
        assert "linter" not in text


def test_release_notes_that_are_given_go_in_instead(shop: Shop) -> None:
    with_changelog(shop, CHANGELOG)
    (shop.directory / "own.md").write_text("Ours.\n")
    shop.write(files=[{"src": str(shop.directory / "own.md"), "dest": "release-notes.md"}])
    assert notes_in(shop)["release-notes.md"] == "Ours.\n"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "the changelog has no entry for 1.1.0"),
        (CHANGELOG.replace("Added", "Chore"), "the changelog's entry for 1.1.0 tells customers nothing"),
    ],
)
def test_a_release_without_notes_is_bundled_with_a_warning(shop: Shop, text: str, reason: str) -> None:
    with_changelog(shop, text)
    told: list[str] = shop.write()["warnings"]
    (warning,) = told
    assert warning.startswith(f"the bundle gets no release notes: {reason}")
    assert notes_in(shop) == {}


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no such release": ({"version": "9.9.9"}, "is it a git checkout that has the release?"),
    "no such file": ({"files": [{"src": "/nonexistent", "dest": "x"}]}, "neither a file nor a directory"),
    "a value that Compose needs": ({"environment": {}}, "SWARM_SECRET must be set"),
    "a path that leads outside": ({"files": [{"src": "/etc/hostname", "dest": "../x"}]}, "leads outside"),
    "a library that makes no controller": ({"pythons": ["3.13"]}, "has no _bundle_controller.py committed"),
    "a name that is taken": ({"files": [{"src": "/etc/hostname", "dest": "source.bundle"}]}, "is Slipway's own"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_nothing_stays(name: str, shop: Shop) -> None:
    changes, reason = WRONG[name]
    with pytest.raises(SlipwayError, match=re.escape(reason)):
        shop.write(**changes)
    assert list(shop.out.iterdir()) == []
