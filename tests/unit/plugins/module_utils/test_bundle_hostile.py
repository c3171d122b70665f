"""Bad bundles, by name: each is refused before anything changes, with the file and the reason."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _bundle_reader
from ansible_collections.slipway.release.plugins.module_utils._bundle_manifest import (
    NAME,
    Base,
    BundleError,
    Image,
    parse_manifest,
)
from ansible_collections.slipway.release.plugins.module_utils._bundle_reader import Standing, admit, opened
from ansible_collections.slipway.release.plugins.module_utils._bundle_tar import BLOCK, header
from ansible_collections.slipway.release.plugins.module_utils._bundle_trust import Parts, trusted_parts
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.bundles import (
    RUNNER,
    Made,
    Picture,
    compressed,
    keys,
    make,
    sha256,
)

pytestmark = pytest.mark.promise("X4")

ROOT = Path(__file__).resolve().parents[4]


@dataclass(frozen=True)
class Bad:
    """One way to be bad.

    :param spoil: makes a good bundle bad.
    :param file: the file that the refusal must name.
    :param reason: what it must say.
    """

    spoil: Callable[[Made], object]
    file: str
    reason: str


def web(made: Made) -> Image:
    return next(image for image in made.manifest.images if image.references == ("swarm:1.1.0",))


def flip_part(made: Made) -> None:
    part = made.parts[1]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def flip_text(name: str) -> Callable[[Made], object]:
    def spoil(made: Made) -> None:
        path = made.directory / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return spoil


def flip_entry(find: Callable[[Made], str]) -> Callable[[Made], object]:
    """Flip a bit inside an entry, and sign that."""

    def spoil(made: Made) -> None:
        made.flip(made.offset(find(made)) + 9)
        made.sign()

    return spoil


def flip_header(made: Made) -> None:
    made.flip(made.offset("manifest.json") - BLOCK + 100)
    made.sign()


def lose_last(made: Made) -> None:
    made.parts[-1].unlink()
    made.sign()


def another_entry(**fields: Any) -> Callable[[Made], object]:  # noqa: ANN401 what TarInfo takes
    """Replace the last entry by another kind of one, under a header that any tar takes."""

    def spoil(made: Made) -> None:
        entries = [(header(name, len(content)), content) for name, content in made.entries()]
        info = tarfile.TarInfo(made.entries()[-1][0])
        for name, value in fields.items():
            setattr(info, name, value)
        entries[-1] = (info.tobuf(tarfile.USTAR_FORMAT), b"")
        made.pack(entries)

    return spoil


def bomb(made: Made) -> None:
    """A layer of some bytes that would fill the disk."""
    told = made.manifest.content[web(made).layers[1]]
    made.swap(told.raw_sha256, compressed(bytes(1 << 26), "-19"))


def wide(made: Made) -> None:
    """A layer that would need 512 MB of memory, if one believed it."""
    layer_id = web(made).layers[1]
    # magic, a header without a size, a window of 2 ** 29 bytes, an empty last block
    made.swap(layer_id, bytes.fromhex("28b52ffd") + bytes([0, (29 - 10) << 3]) + bytes([1, 0, 0]))


def swap_image(made: Made) -> None:
    """The right tag on another image: Docker's manifest leads to it."""
    entries = dict(made.entries())
    ids = [image.id.encode() for image in made.manifest.images]
    swapped = entries["manifest.json"].replace(ids[0], b"0" * 64).replace(ids[1], ids[0]).replace(b"0" * 64, ids[1])
    entries["manifest.json"] = swapped
    made.pack([(header(name, len(content)), content) for name, content in entries.items()])


def swap_layers(made: Made) -> None:
    """The right id, and the layers of another image."""
    first, second = made.manifest.images
    made.claim(replace(made.manifest, images=(replace(first, layers=second.layers), second)))


def swap_content(made: Made) -> None:
    """The right layer's name, and other content of the same size."""
    told = made.manifest.content[web(made).layers[1]]
    made.swap(told.raw_sha256, compressed(bytes(told.raw_size)))


def other_architecture_inside(made: Made) -> None:
    """One image for another machine."""
    old = web(made)
    foreign = Picture("swarm:1.1.0", (), "s390x")
    layers = ", ".join(f'"sha256:{name}"' for name in old.layers)
    config = foreign.config.replace(b'"diff_ids": []', f'"diff_ids": [{layers}]'.encode())
    blob = replace(made.manifest.content[old.id], sha256=sha256(config), raw_sha256=sha256(config), size=len(config))
    blob = replace(blob, raw_size=len(config))
    images = [replace(item, id=blob.sha256) if item == old else item for item in made.manifest.images]
    blobs = [blob if item.sha256 == old.id else item for item in made.manifest.blobs]
    told = replace(made.manifest, images=tuple(images), blobs=tuple(sorted(blobs, key=lambda item: item.sha256)))
    made.claim(told, {blob.sha256: config})


def lengthen(made: Made) -> None:
    made.parts[-1].write_bytes(made.parts[-1].read_bytes() + b"more")
    made.sign()


def shorten(made: Made) -> None:
    made.parts[-1].write_bytes(made.parts[-1].read_bytes()[:-2000])
    made.sign()


def hide(made: Made) -> None:
    """Something in the bytes between two entries."""
    name, content = made.entries()[0]
    made.damage(made.offset(name) + len(content), b"x")
    made.sign()


def doubled_key(made: Made) -> None:
    """A key that is there twice: some readers take the first, others the last."""
    text = made.manifest.written()
    made.claim(text.replace(b'"version":', b'"version": "9.9.9",\n "version":', 1))


def link_part(made: Made) -> None:
    made.parts[0].rename(made.directory / "elsewhere")
    (made.directory / "swarm.001").symlink_to("elsewhere")


def pipe_part(made: Made) -> None:
    made.parts[0].unlink()
    os.mkfifo(made.directory / "swarm.001")


def swap_parts(made: Made) -> None:
    first, second = made.parts[:2]
    first.rename(made.directory / "third")
    second.rename(first)
    (made.directory / "third").rename(second)


def foreign_key(made: Made) -> None:
    trusted = made.signers.read_text()
    keys(made.directory, "foreign")
    made.signers.write_text(trusted)
    made.sign("foreign")


def retired_key(made: Made) -> None:
    """A key that was trusted until it was taken out."""
    made.sign("old-key")
    made.signers.write_text(made.signers.read_text().splitlines(keepends=True)[0])


def path_of_file(path: str) -> Callable[[Made], object]:
    return lambda made: made.edit(lambda value: value["files"][0].update(path=path))


def sums_say(old: str, new: str) -> Callable[[Made], object]:
    def spoil(made: Made) -> None:
        made.sign()
        made.sums.write_text(made.sums.read_text().replace(old, new))
        signature = made.sums.with_name("swarm.sums.sig")
        signature.unlink()
        RUNNER.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(made.key), "-n", "slipway-bundle", str(made.sums)])

    return spoil


SIGNED = "swarm.sums.sig"
NOT_SIGNED = "no key in .* has signed"
HOSTILE = {
    "a flipped bit in a part": Bad(flip_part, "swarm.002", "not what was signed"),
    "a flipped bit in the sums": Bad(flip_text("swarm.sums"), SIGNED, NOT_SIGNED),
    "a flipped bit in the signature": Bad(flip_text(SIGNED), SIGNED, NOT_SIGNED),
    "a flipped bit in the manifest, signed": Bad(flip_entry(lambda _: NAME), NAME, "."),
    "a flipped bit in Docker's manifest, signed": Bad(flip_entry(lambda _: "manifest.json"), "manifest.json", "images"),
    "a flipped bit in the OCI index, signed": Bad(flip_entry(lambda _: "index.json"), "index.json", "images"),
    "a flipped bit in a configuration, signed": Bad(
        flip_entry(lambda made: made.manifest.content[web(made).id].entry), "blobs/sha256/", "what its name says"
    ),
    "a flipped bit in a layer, signed": Bad(
        flip_entry(lambda made: made.manifest.content[web(made).layers[0]].entry), "blobs/sha256/", "zstd|name says"
    ),
    "a flipped bit in a file, signed": Bad(
        flip_entry(lambda made: made.manifest.content[made.manifest.files[-1].sha256].entry),
        "blobs/sha256/",
        "zstd|name says",
    ),
    "a flipped bit in the program that makes a controller, signed": Bad(
        flip_entry(lambda _: "controller.py"), "controller.py", "it is not the one that slipway.json names"
    ),
    "a flipped bit in a header, signed": Bad(flip_header, "swarm.", "another header"),
    "a part is missing": Bad(lambda made: made.parts[1].unlink(), "swarm.002", "missing"),
    "the sums are missing": Bad(lambda made: made.sums.unlink(), "swarm.sums", "missing"),
    "the last part is missing, signed": Bad(lose_last, "swarm.", "the bundle ends"),
    "a part is cut short, signed": Bad(shorten, "swarm.", "the bundle ends"),
    "two parts in the wrong order": Bad(swap_parts, "swarm.001", "not what was signed"),
    "no signature": Bad(lambda made: (made.directory / SIGNED).unlink(), SIGNED, "missing"),
    "a wrong key": Bad(foreign_key, SIGNED, NOT_SIGNED),
    "a key that was retired": Bad(retired_key, SIGNED, NOT_SIGNED),
    "a signature for another purpose": Bad(lambda made: made.sign(namespace="git"), SIGNED, NOT_SIGNED),
    "another image under the right tag": Bad(swap_image, "manifest.json", "does not name the images"),
    "another image's layers under the right id": Bad(swap_layers, ":", "it is another image"),
    "other content in the right layer": Bad(swap_content, "blobs/sha256/", "something else than the manifest says"),
    "a path that leads outside, in the sums": Bad(sums_say("swarm.001", "../swarm.001"), "swarm.sums", "line 1"),
    "an absolute path in the manifest": Bad(path_of_file("/etc/cron.d/x"), NAME, "leads outside"),
    "a path that leads outside, in the manifest": Bad(path_of_file("docs/../../x"), NAME, "leads outside"),
    "a path that leads outside, in an entry": Bad(
        another_entry(name="../../etc/cron.d/x"), "swarm.001", "leads outside"
    ),
    "a symbolic link": Bad(another_entry(type=tarfile.SYMTYPE, linkname="/etc/shadow"), "swarm.001", "a symbolic link"),
    "a hard link": Bad(another_entry(type=tarfile.LNKTYPE, linkname="/etc/shadow"), "swarm.001", "a hard link"),
    "a device node": Bad(another_entry(type=tarfile.BLKTYPE, devmajor=8), "swarm.001", "a device node"),
    "a named pipe": Bad(another_entry(type=tarfile.FIFOTYPE), "swarm.001", "a named pipe"),
    "a part that is a symbolic link": Bad(link_part, "swarm.001", "symbolic link"),
    "a part that is a named pipe": Bad(pipe_part, "swarm.001", "not a plain file"),
    "a decompression bomb": Bad(bomb, "blobs/sha256/", "more than the"),
    "a window that would fill the memory": Bad(wide, "blobs/sha256/", "zstd cannot unpack it"),
    "an image for another architecture": Bad(other_architecture_inside, "swarm:1.1.0", "built for s390x"),
    "an image that Compose needs is not there": Bad(
        lambda made: made.edit(lambda value: value["services"].update(proxy="nginx:1")), NAME, "lacks image nginx:1"
    ),
    "a layer is not there": Bad(
        lambda made: made.edit(lambda value: value["images"][0]["layers"].append("7" * 64)), NAME, "lacks layer 777"
    ),
    "a key that is there twice": Bad(doubled_key, NAME, "as Slipway writes it"),
    "a key that nobody reads": Bad(
        lambda made: made.edit(lambda value: value.update(run="rm -rf /")), NAME, "as Slipway writes it"
    ),
    "a manifest that is too deep": Bad(lambda made: made.claim(b"[" * 200_000), NAME, "not JSON"),
    "a format of another time": Bad(lambda made: made.edit(lambda value: value.update(format=2)), NAME, "format 2"),
    "something after the end": Bad(lengthen, "swarm.", "does not end where"),
    "something between two entries": Bad(hide, "swarm.", "hidden after"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("bundle") / "good", part=3000)


def listed(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_mtime_ns for path in directory.rglob("*")}


def test_the_good_one_is_taken(good: Made) -> None:
    assert len(good.parts) > 2
    with good.opened() as bundle:
        assert bundle.manifest.services == {"redis": "redis:8", "web": "swarm:1.1.0"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_bundle_is_refused(name: str, good: Made, tmp_path: Path) -> None:
    bad, made = HOSTILE[name], good.copy(tmp_path / "bad")
    bad.spoil(made)
    before = listed(tmp_path)
    with pytest.raises(BundleError) as refused, made.opened():
        pass
    assert refused.value.file.startswith(bad.file) or bad.file == ":"
    assert re.search(bad.reason, refused.value.reason), refused.value
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert listed(tmp_path) == before


def test_the_manifest_is_the_one_that_was_summed_whatever_the_medium_answers_later(
    good: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = good.copy(tmp_path / "made")

    @contextmanager
    def replaced(*given: Any) -> Iterator[Parts]:  # noqa: ANN401 - what trusted_parts takes
        with trusted_parts(*given) as parts:
            # its owner writes over it as soon as the sums were compared
            made.damage(made.content.index(b'"version": "1.1.0"'), b'"version": "9.9.9"')
            yield parts

    monkeypatch.setattr(_bundle_reader, "trusted_parts", replaced)
    with made.opened() as bundle:
        assert made.manifest.version == "9.9.9"
        assert bundle.manifest == good.manifest


def standing(**changes: Any) -> Standing:  # noqa: ANN401 plain data
    return Standing(**{"application": "swarm", "running": "1.0.0", "way_back": None, "layers": (), **changes})


REFUSED = {
    "for another application": (standing(application="billing"), "for the application swarm, this site runs billing"),
    "for another architecture": (standing(), "it is for .*, this host is s390x"),
    "older than what runs": (standing(running="1.10.0"), "brings 1.1.0, which is older than 1.10.0"),
    "a delta to another base": (standing(layers={"1" * 64}), "lacks 1 of 2 layers .*bring the whole bundle"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bundle_that_is_not_for_this_site_is_refused(name: str, good: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    site, reason = REFUSED[name]
    manifest = good.manifest
    admit(manifest, "swarm.sums", standing())
    if "architecture" in name:
        monkeypatch.setattr("platform.machine", lambda: "s390x")
    if "delta" in name:
        manifest = replace(manifest, base=Base("1.0.0", "0" * 64, ("1" * 64, "2" * 64)))
    with pytest.raises(BundleError, match=reason) as refused:
        admit(manifest, "swarm.sums", site)
    assert refused.value.file == "swarm.sums"


@pytest.mark.parametrize(
    "older, newer",
    [
        ("1.9.0", "1.10.0"),
        ("v9.4.0", "v10.0.0"),
        ("1.1.0-rc9", "1.1.0-rc10"),
        ("1.1.0-rc10", "1.1.0"),
        ("1.1", "1.1.1"),
        ("r9", "r10"),
        ("v1.1.0", "1.2.0"),
    ],
)
def test_of_two_releases_the_older_is_refused_and_the_newer_is_not(older: str, newer: str, good: Made) -> None:
    admit(replace(good.manifest, version=newer), "swarm.sums", standing(running=older))
    with pytest.raises(BundleError, match="which is older than"):
        admit(replace(good.manifest, version=older), "swarm.sums", standing(running=newer))


def test_the_release_that_a_rollback_returns_to_may_come_again(good: Made) -> None:
    admit(good.manifest, "swarm.sums", standing(running="1.2.0", way_back="1.1.0"))
    admit(good.manifest, "swarm.sums", standing(running="1.1.0-rc1"))
    admit(good.manifest, "swarm.sums", standing(running="1.1.0"))
    admit(good.manifest, "swarm.sums", standing(running=None))


def test_the_page_lists_every_one() -> None:
    page = (ROOT / "docs/bundle.md").read_text()
    told = re.findall(r"^\| ([^|]+?) \|", page.partition("## What is refused")[2].partition("\n## ")[0], re.MULTILINE)
    assert told[2:] == [*HOSTILE, *REFUSED, "a base that is not what its name says"]


def test_without_a_list_of_allowed_signers_nothing_is_trusted(good: Made, tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="do not come with the bundle"), opened(RUNNER, good.sums, tmp_path / "none"):
        pass


QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=40)), max_size=4),
    cut=st.floats(0, 1),
)
def test_whatever_the_bytes_are_it_is_a_refusal(
    changes: list[tuple[float, bytes]], cut: float, good: Made, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Signed bytes of any kind are taken when they are the good ones, and else refused in one line."""
    made = good.copy(tmp_path_factory.mktemp("fuzz") / "made")
    whole = good.content
    for place, content in changes:
        made.damage(int(place * len(whole)), content)
    content = made.content[: max(1, int(cut * (len(whole) + 1)))]
    for path in made.parts:
        path.unlink()
    (made.directory / "swarm.001").write_bytes(content)
    made.sign()
    if content == whole:
        with made.opened():
            return
    with pytest.raises(BundleError) as refused, made.opened():
        pass
    assert "\n" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("a" * 64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_manifest_says_it_is_a_refusal(data: st.DataObject, good: Made) -> None:
    value = json.loads(good.manifest.written())
    place: Any = value
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JSON)
    content = (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()
    with suppress(BundleError):
        parse_manifest(content)
