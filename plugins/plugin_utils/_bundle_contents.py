# SPDX-License-Identifier: GPL-3.0-or-later
"""Gathers what a bundle is made of, on a machine that has all of it: the closure of a release."""

from __future__ import annotations

import os
import re
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Callable

from ansible_collections.slipway.release.plugins.module_utils._bundle_controller import LOCK, program
from ansible_collections.slipway.release.plugins.module_utils._bundle_images import Saved, save
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import (
    CONTROLLER,
    EVIDENCE,
    LIBRARY,
    NOTES,
    SOURCE,
    WHEELS,
    Manifest,
)
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import ARCHITECTURES
from ansible_collections.slipway.release.plugins.module_utils._bundle_sbom import PATH as BILL
from ansible_collections.slipway.release.plugins.module_utils._bundle_sbom import bill_of_materials
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import Contents
from ansible_collections.slipway.release.plugins.module_utils._changelog import (
    ChangelogError,
    customer_notes,
    parse,
)
from ansible_collections.slipway.release.plugins.module_utils._compose import Compose, Docker
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import Runner
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile
from ansible_collections.slipway.release.plugins.module_utils._stored import sha256_of
from ansible_collections.slipway.release.plugins.plugin_utils._release_notes import as_markdown, as_text

_MODULES = "plugins/module_utils/"
_DIRECTIVE = re.compile(r"\s*#\s*([A-Za-z]+)\s*=\s*(\S+)\s*")
# glibc of Debian 10 and RHEL 8 up
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


@dataclass(frozen=True)
class Release:
    """The release that a bundle brings.

    :param version: a tag of the application's repository.
    :param source: a git checkout of the application, at the release or not.
    :param environment: the values that its Compose files ask for.
    :param library: the git checkout of Slipway itself.
    :param files: what comes beside it, by the path in the bundle.
    :param pythons: the versions of Python that a controller may be made with; none when none is to be made.
    :param wheels: a directory that has its packages; the index that pip knows when None.
    :param evidence: holds a directory for each release, with what the gates ask of it.
    """

    version: str
    source: Path
    environment: Mapping[str, str]
    library: Path
    files: Mapping[str, Path]
    pythons: Sequence[str] = ()
    wheels: Path | None = None
    evidence: Path | None = None


def gather(  # noqa: PLR0913, PLR0917 - what a bundle is made of
    runner: Runner,
    profile: Profile,
    release: Release,
    scratch: Path,
    base: Manifest | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Contents:
    """Gather a release's closure.

    :param base: what the bundle is the difference to; packages that it brought are not brought again.
    :param warn: told what does not keep the bundle from being written.
    """
    commit = _git(runner, release.source, "rev-parse", "--verify", "--quiet", f"refs/tags/{release.version}^{{commit}}")
    tree = scratch / "tree"
    _git(runner, release.source, "worktree", "add", "--quiet", "--force", "--detach", str(tree), commit)
    try:
        compose = _compose(runner, profile, release, tree, scratch)
        services = compose.references
        for warning in frontends(compose.config, tree):
            warn(warning)
    finally:
        _git(runner, release.source, "worktree", "remove", "--force", str(tree))
    saved = _images(runner, services, scratch)
    own = {SOURCE: scratch / SOURCE, LIBRARY: scratch / LIBRARY}
    _bundle_source(runner, release, commit, scratch)
    _git(runner, release.library, "archive", "--format=tar", "--output", str(own[LIBRARY]), "HEAD")
    if release.pythons:
        own |= _controller(runner, release, saved.images[0].architecture, scratch, base)
    if release.evidence is not None:
        own |= _below(release.evidence / release.version, f"{EVIDENCE}/{release.version}")
    taken = {*own, BILL, CONTROLLER} & set(release.files)
    if taken:
        raise SlipwayError(f"{min(taken)} in the bundle is Slipway's own: give the file another place")
    # notes that were given are somebody's own
    everything = {**_notes(runner, profile, release, commit, scratch, warn), **release.files, **own}
    bill = scratch / BILL
    bill.write_bytes(bill_of_materials(profile.name, release.version, saved.images, everything))
    return Contents(profile.name, release.version, commit, services, saved, {**everything, BILL: bill})


def _notes(  # noqa: PLR0913, PLR0917 - what they are made of
    runner: Runner, profile: Profile, release: Release, commit: str, scratch: Path, warn: Callable[[str], None]
) -> dict[str, Path]:
    """The release notes for customers, as files; none where the changelog has none."""
    changelog = f"{commit}:{profile.repository.changelog}"
    done = runner.run(["git", "-C", str(release.source), "show", changelog], check=False, timeout=600)
    try:
        notes = customer_notes(parse(done.stdout, release.version))
    except ChangelogError as error:
        warn(f"the bundle gets no release notes: {error}")
        return {}
    if notes.empty:
        warn(f"the bundle gets no release notes: the changelog's entry for {release.version} tells customers nothing")
        return {}
    written = {
        NOTES: as_markdown(profile.name, notes),
        str(PurePosixPath(NOTES).with_suffix(".txt")): as_text(profile.name, notes),
    }
    for name, text in written.items():
        (scratch / name).write_text(text, "utf-8")
    return {name: scratch / name for name in written}


def _bundle_source(runner: Runner, release: Release, commit: str, scratch: Path) -> None:
    """Write the release with its history as a git bundle.

    Its tag names the commit itself: what an annotated one names cannot be asked of a bundle.
    """
    tag, repository = f"refs/tags/{release.version}", scratch / "source.git"
    _git(runner, scratch, "init", "--quiet", "--bare", str(repository))
    # one thread: what several pack together differs from time to time
    alone = ("-c", "pack.threads=1")
    _git(runner, repository, *alone, "fetch", "--quiet", "--no-tags", str(release.source.absolute()), tag)
    _git(runner, repository, "update-ref", tag, commit)
    _git(runner, repository, *alone, "bundle", "create", "--quiet", str(scratch / SOURCE), tag)


def _controller(
    runner: Runner, release: Release, architecture: str, scratch: Path, base: Manifest | None
) -> dict[str, Path]:
    """What a controller is made of beside the library: the program that makes it, and packages."""
    with tarfile.open(scratch / LIBRARY) as archive:
        names = {item.name for item in archive if item.isreg()}

        def text(name: str) -> str:
            content = archive.extractfile(name)
            return "" if content is None else content.read().decode()

        modules = [name for name in names if name.startswith(f"{_MODULES}_") and name.endswith(".py")]
        source = program({Path(name).stem: text(name) for name in modules})
        if LOCK not in names:
            raise SlipwayError(f"{release.library} has no {LOCK} committed: without it no controller can be made")
        lock = text(LOCK)
    (scratch / CONTROLLER).write_text(source, "utf-8")
    (scratch / LOCK).write_text(lock, "utf-8")
    place = wheels(runner, release.pythons, architecture, scratch / LOCK, scratch / WHEELS, release.wheels)
    packages = _below(place, WHEELS)
    if base is not None and all(_brought(base, name, path) for name, path in packages.items()):
        packages = {}
    return {CONTROLLER: scratch / CONTROLLER, **packages}


def _brought(base: Manifest, name: str, path: Path) -> bool:
    file = base.file(name)
    return file is not None and file.sha256 == sha256_of(path)


def wheels(  # noqa: PLR0913, PLR0917 - what packages are chosen by
    runner: Runner, pythons: Sequence[str], architecture: str, lock: Path, directory: Path, source: Path | None = None
) -> Path:
    """Bring the packages that a lock names, for each version of Python, into a new directory, and return that.

    :param source: a directory that has them; the index that pip knows when None.
    """
    directory.mkdir()
    machine = next((name for name, known in ARCHITECTURES.items() if known == architecture), architecture)
    platforms = chain.from_iterable(("--platform", f"{name}_{machine}") for name in _PLATFORMS)
    place = () if source is None else ("--no-index", "--find-links", str(source))
    fixed = ["--only-binary=:all:", "--no-deps", "--require-hashes", *platforms, *place, "--dest", str(directory)]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    for python in pythons:
        wanted = ["--implementation", "cp", "--python-version", python, "--requirement", str(lock)]
        try:
            runner.run([sys.executable, "-m", "pip", "download", *quiet, *fixed, *wanted], timeout=600)
        except CommandError as error:
            reason = " ".join(error.output.split())[-300:]
            raise SlipwayError(
                f"the packages for Python {python} cannot be had ({reason}): let pip reach its index, or name a "
                "directory that has them as bundle_wheels"
            ) from error
    return directory


def _below(directory: Path, target: str) -> dict[str, Path]:
    """The files below a directory, by the path that they get in the bundle."""
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    return {f"{target}/{path.relative_to(directory)}": path for path in found}


def files_of(places: Sequence[Mapping[str, str]]) -> dict[str, Path]:
    """Files by their path in the bundle: `src` is a file or a directory, `dest` where it goes."""
    found: dict[str, Path] = {}
    for place in places:
        source, target = Path(place["src"]), place["dest"].rstrip("/")
        if source.is_dir():
            found |= _below(source, target)
        elif source.is_file():
            found[target] = source
        else:
            raise SlipwayError(f"{source} is neither a file nor a directory: mend bundle_files")
    return found


def _git(runner: Runner, directory: Path, *arguments: str) -> str:
    try:
        return runner.run(["git", "-C", str(directory), *arguments], timeout=600).stdout.strip()
    except CommandError as error:
        raise SlipwayError(f"{directory}: {error.reason}: is it a git checkout that has the release?") from error


def _compose(runner: Runner, profile: Profile, release: Release, tree: Path, scratch: Path) -> Compose:
    """The project through all Compose files and profiles in use."""
    env_file = scratch / "env"
    values = {**release.environment, profile.version_variable: release.version}
    EnvFile(env_file).assign(values, (os.geteuid(), os.getegid()))
    link = tree / profile.env_file
    if not link.exists():
        # services may name it as theirs
        link.symlink_to(env_file)
    return Compose(runner, replace(profile, directory=str(tree)), tree, release.version, env_file)


def frontends(model: Mapping[str, Any], tree: Path) -> list[str]:
    """What is to be said of Dockerfiles that name the program which reads them: a build asks a registry for that."""
    found: dict[tuple[Path, str], tuple[str, str]] = {}
    for service, item in sorted(model["services"].items()):
        build = item.get("build")
        if not build:
            continue
        name = "dockerfile_inline" if "dockerfile_inline" in build else build.get("dockerfile", "Dockerfile")
        path = tree / build.get("context", ".") / name
        text = build.get("dockerfile_inline") or (path.read_text("utf-8", "replace") if path.is_file() else "")
        image = (build.get("args") or {}).get("BUILDKIT_SYNTAX") or _frontend(text)
        if image:
            found.setdefault((path, image), (service, name))
    return [
        f"{name} of {service} names {image} as its syntax, which a build asks a registry for: remove the line, or let "
        "nobody build this release where there is none"
        for (_, image), (service, name) in found.items()
    ]


def _frontend(text: str) -> str | None:
    """The image that a Dockerfile's directive `syntax` names; directives stand before everything else."""
    for line in text.lstrip("\ufeff").splitlines():
        directive = _DIRECTIVE.fullmatch(line)
        if directive is None:
            return None
        if directive[1].lower() == "syntax":
            return directive[2]
    return None


def _images(runner: Runner, services: Mapping[str, str], scratch: Path) -> Saved:
    """The images of services, as this machine's engine has them."""
    pinned = sorted(name for name in services.values() if "@" in name)
    if pinned:
        raise SlipwayError(
            f"{pinned[0]} is named by a registry's digest, which docker load gives to no image: name it by a tag, the "
            "bundle pins its content"
        )
    ids = Docker(runner).image_ids(services.values())
    missing = sorted(name for name, image in ids.items() if image is None)
    if missing:
        raise SlipwayError(f"{', '.join(missing)} is not on this machine: build or pull it before it is bundled")
    wanted = sorted({image for image in ids.values() if image})
    saved = save(runner, wanted, scratch)
    names = {
        image.id: tuple(sorted(name for name, found in ids.items() if found == f"sha256:{image.id}"))
        for image in saved.images
    }
    if {f"sha256:{image}" for image in names} != set(wanted):
        raise SlipwayError("the engine keeps images in containerd's store: use Docker's default image store")
    images = tuple(replace(image, references=names[image.id]) for image in saved.images)
    return replace(saved, images=images)
