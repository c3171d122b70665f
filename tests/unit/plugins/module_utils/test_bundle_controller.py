"""A controller is made of a bundle alone, by the program that the bundle brings, whole or not at all."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _bundle_controller
from ansible_collections.slipway.release.plugins.module_utils._bundle_controller import main, program

from tests.unit.plugins.module_utils.bundles import Made, make

pytestmark = pytest.mark.promise("X1")

MODULES = Path(_bundle_controller.__file__).parent
HERE = f"cp{sys.version_info[0]}{sys.version_info[1]}"
# leaves what it was asked, and a program such as ansible-playbook; fails when the wheels say so
PIP = """
import pathlib, sys
wheels = pathlib.Path(sys.argv[sys.argv.index("--find-links") + 1])
if (wheels / "broken").exists():
    sys.exit("ERROR: no matching distribution")
place = pathlib.Path(sys.prefix, "bin", "ansible-playbook")
place.write_text("print('ansible-playbook')")
pathlib.Path(sys.prefix, "asked").write_text(" ".join(sys.argv[1:]))
"""
SITE = {"inventory/airgap/hosts.yml": b"an example\n", "requirements-run.lock": b"ansible-core==2.21.5\n"}


def wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pip/__main__.py", PIP)
    return content.getvalue()


def library(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        link = tarfile.TarInfo("airgap")
        link.type, link.linkname = tarfile.SYMTYPE, "inventory/airgap"
        archive.addfile(link)
    return content.getvalue()


def files(version: str = "1.1.0", more: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """What a bundle brings for a controller."""
    return {
        "slipway.tar": library({**SITE, "VERSION": version.encode()}),
        "controller.py": program({path.stem: path.read_text() for path in MODULES.glob("_*.py")}).encode(),
        "wheels/pip-26.3-py3-none-any.whl": wheel(),
        f"wheels/markupsafe-3.0.4-{HERE}-{HERE}-any.whl": b"binary",
        f"evidence/{version}/review.json": b"{}",
        **(more or {}),
    }


def without_packages(version: str) -> dict[str, bytes]:
    return {name: content for name, content in files(version).items() if not name.startswith("wheels/")}


def by_its_program(made: Made, directory: Path) -> subprocess.CompletedProcess[str]:
    """As docs/bundle.md has it, in a directory where a module lies that somebody else put there."""
    (made.directory / "hashlib.py").write_text("raise SystemExit('not this one')\n")
    tar = subprocess.run(
        ["tar", "-xOf", "swarm.001", "--occurrence=1", "controller.py"],
        cwd=made.directory,
        capture_output=True,
        check=True,
    )
    argv = [sys.executable, "-I", "-", "swarm.sums", "allowed_signers", str(directory)]
    return subprocess.run(
        argv, cwd=made.directory, input=tar.stdout.decode(), capture_output=True, text=True, check=False
    )


def again(made: Made, directory: Path) -> int:
    return main([str(made.sums), str(made.signers), str(directory)])


def look(directory: Path) -> dict[str, bytes | str]:
    """Each file and link below a directory."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = str(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(directory))] = path.read_bytes()
    return found


def test_one_command_makes_it_and_asks_no_index(tmp_path: Path) -> None:
    made, controller = make(tmp_path / "bundle", files=files()), tmp_path / "opt" / "slipway"
    done = by_its_program(made, controller)
    assert (done.returncode, done.stderr) == (0, "")
    assert "swarm 1.1.0, signed and whole" in done.stdout
    assert f"cd {controller} && .venv/bin/ansible-playbook playbooks/load.yml -i airgap" in done.stdout
    assert (controller / "airgap/hosts.yml").read_text() == "an example\n"
    assert (controller / "evidence/1.1.0/review.json").is_file()
    asked = (controller / ".venv/asked").read_text().split()
    assert {"install", "--isolated", "--no-index", "--require-hashes", "--only-binary=:all:"} < set(asked)
    assert asked[-2:] == ["-r", str(controller / "requirements-run.lock")]
    assert [path.name for path in controller.parent.iterdir()] == ["slipway"]


def test_the_next_bundle_brings_what_it_has_and_what_is_the_site_s_stays(tmp_path: Path) -> None:
    controller = tmp_path / "slipway"
    assert again(make(tmp_path / "first", files=files()), controller) == 0
    (controller / "inventory/airgap/hosts.yml").write_text("the site\n")
    (controller / "build/records").mkdir(parents=True)
    (controller / "build/records/one.json").write_text("{}")
    (controller / "evidence/allowed_signers").write_text("ci")
    environment = (controller / ".venv").stat().st_ino
    # a delta brings no packages that its base brought
    second = make(tmp_path / "second", "1.2.0", files=without_packages("1.2.0"))
    assert again(second, controller) == 0
    assert (controller / "VERSION").read_text() == "1.2.0"
    assert (controller / "inventory/airgap/hosts.yml").read_text() == "the site\n"
    assert (controller / "build/records/one.json").is_file()
    assert sorted(path.name for path in (controller / "evidence").iterdir()) == ["1.1.0", "1.2.0", "allowed_signers"]
    assert (controller / ".venv").stat().st_ino == environment


def test_other_packages_make_the_environment_anew(tmp_path: Path) -> None:
    controller = tmp_path / "slipway"
    assert again(make(tmp_path / "first", files=files()), controller) == 0
    environment = (controller / ".venv").stat().st_ino
    newer = library({**SITE, "requirements-run.lock": b"ansible-core==2.22.0\n"})
    assert again(make(tmp_path / "second", "1.2.0", files=files("1.2.0", {"slipway.tar": newer})), controller) == 0
    assert (controller / ".venv").stat().st_ino != environment
    assert (controller / ".venv/asked").is_file()


WRONG: dict[str, tuple[dict[str, bytes], str]] = {
    "packages that do not fit": (
        files(more={"wheels/broken": b"x"}),
        "the packages cannot be installed: ERROR: no matching",
    ),
    "no packages": (without_packages("1.1.0"), "no packages that fit are here, and the bundle brings none"),
    "no library": ({"docs/README.md": b"x"}, "swarm.sums: it brings no slipway.tar"),
    "a library that leads outside": (
        files(more={"slipway.tar": library({**SITE, "../outside": b"x"})}),
        "slipway.tar: it cannot be unpacked",
    ),
    "another Python": (
        {name.replace(HERE, "cp311"): content for name, content in files().items()},
        "it brings no packages for Python",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("there", [False, True], ids=["first", "again"])
def test_what_is_wrong_leaves_all_as_it_was(
    name: str, there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brought, reason = WRONG[name]
    controller = tmp_path / "opt" / "slipway"
    if there:
        older = library({**SITE, "requirements-run.lock": b"ansible-core==2.19.0\n"})
        assert again(make(tmp_path / "good", files=files("1.0.0", {"slipway.tar": older})), controller) == 0
    before = look(tmp_path / "opt")
    assert again(make(tmp_path / "bad", files=brought), controller) == 1
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert look(tmp_path / "opt") == before
    assert there or not controller.exists()


def test_a_directory_that_no_bundle_made_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path / "bundle", files=files())
    (tmp_path / "home").mkdir()
    assert again(made, tmp_path / "home") == 1
    assert "is there and no bundle made it: name a directory that is not there" in capsys.readouterr().err
    assert list((tmp_path / "home").iterdir()) == []


def test_a_bundle_that_nobody_signed_makes_nothing(tmp_path: Path) -> None:
    made = make(tmp_path / "bundle", files=files())
    made.flip(made.offset("controller.py") - 600)
    done = by_its_program(made, tmp_path / "slipway")
    assert done.returncode == 1
    assert "it is not what was signed" in done.stderr
    assert not (tmp_path / "slipway").exists()


def test_a_python_that_is_too_old_and_a_foreign_machine_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make(tmp_path / "bundle", files=files())
    with monkeypatch.context() as patched:
        patched.setattr(_bundle_controller, "OLDEST", (9, 9))
        assert again(made, tmp_path / "slipway") == 1
    assert "too old for ansible-core: run this with Python 9.9 or later" in capsys.readouterr().err
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    assert again(made, tmp_path / "slipway") == 1
    assert "this machine is s390x" in capsys.readouterr().err


def test_the_program_stands_on_the_library_alone() -> None:
    text = program({path.stem: path.read_text() for path in MODULES.glob("_*.py")})
    compile(text, "controller.py", "exec")
    assert "ansible_collections" not in text
