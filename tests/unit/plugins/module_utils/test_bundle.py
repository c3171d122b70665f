"""Bundles: written, split, verified by stock commands, read back, loaded; deltas that give the same images."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _bundle_load
from ansible_collections.slipway.release.plugins.module_utils._bundle_delta import (
    Known,
    apply_patch,
    chunks,
    write_patch,
)
from ansible_collections.slipway.release.plugins.module_utils._bundle_images import read_archive
from ansible_collections.slipway.release.plugins.module_utils._bundle_load import load, rounds
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import BundleError, Patch
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import (
    Standing,
    admit,
    architecture,
    opened,
)
from ansible_collections.slipway.release.plugins.module_utils._bundle_sbom import bill_of_materials
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import commands
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import Contents, write_bundle
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.bundles import (
    CODE,
    RUNNER,
    Files,
    Made,
    Picture,
    keys,
    layer,
    make,
    noise,
    read,
    saved_by_docker,
    sha256,
    swarm,
)

GEMS = {f"gems/rails-8/lib/{number}.rb": noise(900, number) for number in range(60)}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("bundle") / "full", "1.0.0", pictures=swarm("1.0.0", {**CODE, **GEMS}))


@pytest.fixture(scope="module")
def delta(full: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    changed = {**CODE, **GEMS, "app/models/agent.rb": b"class Agent; end\n"}
    with full.opened() as base:
        directory = tmp_path_factory.mktemp("delta") / "delta"
        return make(directory, "1.1.0", base, pictures=swarm("1.1.0", changed, time=1_790_000_000))


def test_the_same_content_gives_the_same_bytes(full: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    before = os.umask(0o077)
    try:
        again = make(tmp_path / "again", "1.0.0", pictures=tuple(reversed(swarm("1.0.0", {**CODE, **GEMS}))))
    finally:
        os.umask(before)
    assert again.content == full.content


def test_any_tar_unpacks_it_and_layers_lie_in_it_once(full: Made) -> None:
    names = [name for name, _ in full.entries()]
    assert names[:5] == ["slipway.json", "controller.py", "oci-layout", "index.json", "manifest.json"]
    manifest = full.manifest
    assert len(manifest.layers) == 3
    assert sum(len(image.layers) for image in manifest.images) == 4
    content = dict(full.entries())
    for image in manifest.images:
        for name in image.layers:
            blob = manifest.content[name]
            unpacked = subprocess.run(["zstd", "-dc"], input=content[blob.entry], capture_output=True, check=True)
            assert sha256(unpacked.stdout) == name


def test_the_oci_layout_leads_to_every_image(full: Made) -> None:
    content = dict(full.entries())
    index = json.loads(content["index.json"])
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    found = {}
    for item in index["manifests"]:
        told = json.loads(content["blobs/sha256/" + item["digest"][7:]])
        assert sha256(content["blobs/sha256/" + item["digest"][7:]]) == item["digest"][7:]
        for part in (told["config"], *told["layers"]):
            held = content["blobs/sha256/" + part["digest"][7:]]
            assert (sha256(held), len(held)) == (part["digest"][7:], part["size"])
        found[item["annotations"]["org.opencontainers.image.ref.name"]] = told["config"]["digest"][7:]
    assert found == {name: image.id for image in full.manifest.images for name in image.references}


@pytest.mark.parametrize("size", [1000, 4096, 1 << 20])
def test_it_is_split_into_parts_that_are_verified_alone(size: int, full: Made, tmp_path: Path) -> None:
    split = make(tmp_path / "split", "1.0.0", pictures=swarm("1.0.0", {**CODE, **GEMS}), part=size)
    assert split.content == full.content
    sizes = [path.stat().st_size for path in split.parts]
    assert set(sizes[:-1]) <= {size}
    with split.opened() as bundle:
        assert bundle.manifest == full.manifest
    alone = tmp_path / "one-medium"
    alone.mkdir()
    for path in (split.sums, split.parts[-1]):
        (alone / path.name).write_bytes(path.read_bytes())
    check = ["sha256sum", "--check", "--strict", "--ignore-missing", "swarm.sums"]
    assert subprocess.run(check, cwd=alone, check=False, capture_output=True).returncode == 0
    (alone / split.parts[-1].name).write_bytes(b"x")
    assert subprocess.run(check, cwd=alone, check=False, capture_output=True).returncode != 0


def printed(made: Made) -> list[int]:
    """The exit codes of the two commands that are printed, in a shell as people use it."""
    lines = commands(made.sums.name, made.signers.name)
    return [
        subprocess.run(["sh", "-c", line], cwd=made.directory, check=False, capture_output=True).returncode
        for line in lines
    ]


@pytest.mark.promise("X4")
def test_two_commands_of_any_host_verify_it(full: Made, tmp_path: Path) -> None:
    assert printed(full) == [0, 0]
    damaged = full.copy(tmp_path / "damaged")
    damaged.flip(700)
    assert printed(damaged)[0] == 0
    assert printed(damaged)[1] != 0
    foreign = full.copy(tmp_path / "foreign")
    keys(foreign.directory, "foreign")
    assert printed(foreign)[0] != 0


@pytest.mark.promise("X4")
def test_keys_are_rotated_without_a_gap(full: Made, tmp_path: Path) -> None:
    made = full.copy(tmp_path / "rotated")
    for key in ("key", "old-key"):
        made.sign(key)
        with made.opened():
            pass
    made.signers.write_text(made.signers.read_text().splitlines(keepends=True)[1])
    with made.opened():
        pass
    made.sign("key")
    with pytest.raises(BundleError, match="no key in"), made.opened():
        pass


def test_a_bundle_is_never_written_over_another(full: Made, tmp_path: Path) -> None:
    made = full.copy(tmp_path / "made")
    with pytest.raises(SlipwayError, match="already holds"):
        make_again(made)


def make_again(made: Made) -> None:
    (made.directory / "scratch").mkdir()
    contents = Contents("swarm", "1.0.0", "4" * 40, {}, read(made.directory / "saved", *swarm("1.0.0")), {})
    write_bundle(RUNNER, contents, made.sums, made.key, made.directory / "scratch")


def test_a_closure_that_is_not_whole_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="lacks image redis:8 of service redis"):
        make(tmp_path / "half", pictures=swarm()[:1])


def test_files_come_out_as_they_went_in(full: Made, tmp_path: Path) -> None:
    with full.opened() as bundle:
        bundle.unpack(tmp_path / "docs", "docs/")
        bundle.unpack(tmp_path / "all")
        with pytest.raises(SlipwayError, match="cannot be written"):
            bundle.unpack(tmp_path / "all")
    assert (tmp_path / "docs/docs/README.md").read_bytes() == b"# Swarm\n" * 30
    assert not (tmp_path / "docs/helpers").exists()
    assert (tmp_path / "all/helpers/amd64/tool").stat().st_mode & 0o111
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_host_without_zstd_uses_the_one_that_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path("/usr/bin/zstd").read_bytes()
    made = make(tmp_path / "made", files={f"helpers/{architecture()}/zstd": program})
    bare = make(tmp_path / "bare")
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    (bin_directory / "ssh-keygen").symlink_to("/usr/bin/ssh-keygen")
    monkeypatch.setenv("PATH", str(bin_directory))
    with made.opened() as bundle:
        assert bundle.manifest.version == "1.1.0"
    with pytest.raises(SlipwayError, match="zstd is not on this host and the bundle brings none"), bare.opened():
        pass


def test_the_bill_of_materials_is_the_same_each_time(tmp_path: Path) -> None:
    wheel = tmp_path / "wheel"
    wheel.write_bytes(b"wheel")
    images = read(tmp_path / "saved", *swarm()).images
    files = {"wheels/ansible_core-2.21.5-py3-none-any.whl": wheel, "helpers/amd64/zstd": wheel, "docs/deploy.md": wheel}
    written = bill_of_materials("swarm", "1.1.0", images, files)
    assert written == bill_of_materials("swarm", "1.1.0", tuple(reversed(images)), files)
    bill = json.loads(written)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    found = {item.get("purl", item["name"]): item for item in bill["components"]}
    assert found["pkg:pypi/ansible-core@2.21.5"]["hashes"] == [{"alg": "SHA-256", "content": sha256(b"wheel")}]
    assert found["helpers/amd64/zstd"]["type"] == "application"
    web = swarm()[0]
    assert f"pkg:oci/swarm@sha256%3A{web.id}?tag=1.1.0" in found


def test_an_older_engine_s_archive_has_links_to_layers(tmp_path: Path) -> None:
    first, second = swarm()
    target = io.BytesIO()
    index = []
    with tarfile.open(fileobj=target, mode="w") as archive:

        def add(name: str, content: bytes = b"", link: str = "") -> str:
            member = tarfile.TarInfo(name)
            member.size, member.linkname = len(content), link
            member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            archive.addfile(member, io.BytesIO(content))
            return name

        for number, picture in enumerate((first, second)):
            config = add(f"{picture.id}.json", picture.config)
            base = add("a/layer.tar", picture.layers[0]) if not number else add("b/layer.tar", link="../a/layer.tar")
            own = add(f"c{number}/layer.tar", picture.layers[1])
            index.append({"Config": config, "RepoTags": [picture.reference], "Layers": [base, own]})
        add("manifest.json", json.dumps(index).encode())
    target.seek(0)
    saved = read_archive(target, tmp_path)
    assert [image.id for image in saved.images] == [first.id, second.id]
    assert saved.files[sha256(first.layers[0])].read_bytes() == first.layers[0]


def test_layers_that_are_not_as_their_image_says_are_not_taken(tmp_path: Path) -> None:
    web = swarm()[0]
    content = saved_by_docker(web).replace(b"class Agent", b"class Other")
    with pytest.raises(SlipwayError, match="default image store"):
        read_archive(io.BytesIO(content), tmp_path)
    for cut in (0, 600, 2000):
        with pytest.raises(SlipwayError, match="docker save"):
            read_archive(io.BytesIO(content[:cut]), tmp_path)


def load_into(engine: Files, made: Made, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Load a bundle, with an engine that takes what it is sent as soon as it is asked for its images again."""
    asked = _bundle_load.Engine
    taken: list[bool] = []

    def look(runner: HostRunner) -> _bundle_load.Engine:
        if taken:
            engine.take()
        taken.append(True)
        return asked(runner)

    monkeypatch.setattr(_bundle_load, "Engine", look)
    with opened(engine, made.sums, made.signers) as bundle:
        return load(engine, bundle, engine.directory)


def test_images_are_loaded_bit_for_bit(full: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Files(tmp_path)
    assert sorted(load_into(engine, full, monkeypatch)) == ["redis:8", "swarm:1.0.0"]
    assert set(engine.pictures) == {image.id for image in full.manifest.images}
    assert load_into(engine, full, monkeypatch) == []


def test_only_what_is_missing_is_sent(full: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = swarm()[1]
    engine = Files(tmp_path, redis)
    assert load_into(engine, full, monkeypatch) == ["swarm:1.0.0"]
    with tarfile.open(engine.archives[0]) as archive:
        names = archive.getnames()
    web = swarm("1.0.0", {**CODE, **GEMS})[0]
    own = full.manifest.content[sha256(web.layers[1])]
    assert names == ["manifest.json", f"blobs/sha256/{web.id}", own.entry]


def test_each_layer_is_sent_once_and_what_others_stand_on_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, empty = layer({"etc/os-release": b"Debian\n"}), layer({})
    ruby = layer({"usr/bin/ruby": noise(9000)})
    pictures = (
        Picture("swarm:1.1.0", (base, ruby, layer(CODE), empty)),
        Picture("redis:8", (base, empty)),
        Picture("postgres:17", (base, layer({"usr/bin/postgres": noise(20_000, seed=2)}))),
        Picture("scheduler:1", (base, ruby)),
        Picture("busybox:1", (layer({"bin/busybox": noise(100)}),)),
    )
    made = make(tmp_path / "made", pictures=pictures)
    engine = Files(tmp_path)
    with made.opened() as bundle:
        ordered = rounds(bundle.manifest, _bundle_load.Engine(engine), bundle.manifest.images)
    names = [[part.image.references[0] for part in parts] for parts in ordered]
    assert names == [["redis:8", "busybox:1"], ["postgres:17", "scheduler:1"], ["swarm:1.1.0"]]
    load_into(engine, made, monkeypatch)
    assert set(engine.pictures) == {picture.id for picture in pictures}
    entries = {made.manifest.content[name].entry: name for name in made.manifest.layers}
    sent: list[str] = []
    for path in engine.archives:
        with tarfile.open(path) as archive:
            sent += [entries[name] for name in archive.getnames() if name in entries]
    # the engine has no layer without those below it, and the empty one lies on two
    assert Counter(sent) == Counter([*made.manifest.layers, sha256(empty)])


@pytest.mark.promise("X4")
def test_a_delta_gives_the_same_images_bit_for_bit(
    full: Made, delta: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Files(tmp_path, *swarm("1.0.0", {**CODE, **GEMS}))
    assert load_into(engine, delta, monkeypatch) == ["swarm:1.1.0"]
    changed = {**CODE, **GEMS, "app/models/agent.rb": b"class Agent; end\n"}
    assert swarm("1.1.0", changed, time=1_790_000_000)[0].id in engine.pictures
    # every header has a new time, and the files are not sent again
    assert len(delta.content) < len(full.content) / 4


def test_a_layer_that_stays_on_top_of_one_that_does_not_is_sent_again(
    full: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, redis = swarm("1.0.0", {**CODE, **GEMS})
    moved = Picture("swarm:1.1.0", (layer({"etc/os-release": b"Debian, mended\n"}), web.layers[1]))
    with full.opened() as base:
        made = make(tmp_path / "made", "1.1.0", base, pictures=(moved, redis))
    engine = Files(tmp_path, web, redis)
    assert load_into(engine, made, monkeypatch) == ["swarm:1.1.0"]
    assert moved.id in engine.pictures


@pytest.mark.promise("X4")
def test_a_delta_needs_its_base(full: Made, delta: Made) -> None:
    base = delta.manifest.base
    assert base is not None
    assert (base.version, base.manifest) == ("1.0.0", full.manifest.sha256)
    site = Standing("swarm", "1.0.0", None, set(full.manifest.layers))
    admit(delta.manifest, "swarm.sums", site)
    without = set(full.manifest.layers) - {swarm_layer(full)}
    with pytest.raises(BundleError, match="bring the whole bundle"):
        admit(delta.manifest, "swarm.sums", replace(site, layers=without))


def swarm_layer(made: Made) -> str:
    return next(image.layers[1] for image in made.manifest.images if image.references[0].startswith("swarm"))


@pytest.mark.promise("X4")
def test_a_base_that_is_not_what_its_name_says_gives_no_image(
    delta: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lying(Files):
        def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
            if argv[:3] == ["docker", "image", "save"]:
                content = saved_by_docker(*(self.pictures[name[7:]] for name in argv[3:]))
                (self.directory / "archive").write_bytes(content.replace(b"class Agent", b"class Other"))
                return HostRunner.stream(self, ["cat", str(self.directory / "archive")], errors)
            return super().stream(argv, errors)

    engine = Lying(tmp_path, *swarm("1.0.0", {**CODE, **GEMS}))
    with pytest.raises(SlipwayError, match="bring the whole bundle"):
        load_into(engine, delta, monkeypatch)
    assert engine.archives == []


def test_what_keeps_images_from_being_loaded(full: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Files(tmp_path)
    engine.refuses = True
    with pytest.raises(SlipwayError, match="no room"):
        load_into(engine, full, monkeypatch)
    engine.store = "io.containerd.snapshotter.v1"
    with pytest.raises(SlipwayError, match="default image store"):
        load_into(engine, full, monkeypatch)


def test_images_that_do_not_fit_are_not_sent(full: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Files(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(SlipwayError, match="has no room for the bundle's images: make 1 MB more free"):
        load_into(engine, full, monkeypatch)
    assert engine.archives == []


def cut_up(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def patch(old: Mapping[str, bytes], new: bytes) -> tuple[bytes, bytes, Patch]:
    known, recipe, literals = Known(), io.BytesIO(), io.BytesIO()
    for name, content in old.items():
        known.add(name, cut_up(content))
    write_patch(known, cut_up(new), recipe.write, literals.write)
    return recipe.getvalue(), literals.getvalue(), Patch(sha256(new), len(new), "", "", tuple(old))


@settings(max_examples=60, deadline=None)
@given(
    old=st.binary(max_size=3000),
    new=st.binary(max_size=3000),
    names=st.lists(st.sampled_from(sorted(GEMS)), unique=True, max_size=6),
    size=st.integers(1, 5000),
)
def test_a_patch_gives_back_what_it_was_made_of(
    old: bytes, new: bytes, names: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = layer({name: GEMS[name] for name in names} | {"own": old})
    after = layer({"own": new} | {name: GEMS[name] for name in reversed(names)}, time=7)
    recipe, literals, made = patch({"a": before, "b": new}, after)
    paths = [tmp_path_factory.mktemp("patch") / name for name in ("a", "b")]
    for path, content in zip(paths, (before, new), strict=True):
        path.write_bytes(content)
    with paths[0].open("rb") as first, paths[1].open("rb") as second:
        pieces = apply_patch(made, cut_up(recipe, size), cut_up(literals, size), [first, second])
        assert b"".join(pieces) == after


def test_large_files_are_cut_by_what_they_hold() -> None:
    content = noise(2_000_000)
    first = layer({"vendor/bundle.js": content})
    second = layer({"vendor/bundle.js": content[:700_000] + b"changed" + content[700_000:]}, time=5)
    before = {sha256(chunk) for chunk in chunks(cut_up(first))}
    new = [chunk for chunk in chunks(cut_up(second)) if sha256(chunk) not in before]
    assert b"".join(chunks(cut_up(second, 777))) == second
    assert sum(map(len, new)) < 500_000
    assert max(map(len, chunks(cut_up(first)))) <= 256 << 10


@pytest.mark.promise("X4")
def test_a_patch_of_another_base_gives_no_layer(tmp_path: Path) -> None:
    base = layer({"own": noise(9000)})
    recipe, literals, made = patch({"a": base}, layer({"own": noise(9000)}, time=7))
    assert len(literals) < 2000
    (tmp_path / "base").write_bytes(base.replace(noise(9000)[:50], b"x" * 50))
    with (tmp_path / "base").open("rb") as stream, pytest.raises(BundleError, match="the base is another, or damaged"):
        list(apply_patch(made, iter([recipe]), iter([literals]), [stream]))


BAD_LINES = [
    b"x 1\n",
    b"c 0 0 10\n",
    b"c 9 0 5\n",
    b"c 0 -5 5\n",
    b"l 6\n",
    b"l 0\n",
    b"l 5",
    b"l 99999999999999\n",
    b"",
]


@pytest.mark.promise("X4")
@pytest.mark.parametrize("line", BAD_LINES)
def test_a_recipe_that_is_bad_is_refused(line: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"12")
    made = Patch(sha256(b"hello"), 5, "", "", ("a",))
    assert b"".join(apply_patch(made, iter([b"l 5\n"]), iter([b"hello"]), [])) == b"hello"
    with source.open("rb") as stream, pytest.raises(BundleError, match="recipe"):
        list(apply_patch(made, iter([line]), iter([b"hell"]), [stream]))
