"""The library on a host: what was sent is verified, compiled and found again; nothing else is run."""

from __future__ import annotations

import base64
import compileall
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _scrub
from ansible_collections.slipway.release.plugins.modules import host_call
from ansible_collections.slipway.release.plugins.modules.host_call import digest_of, install, run
from ansible_collections.slipway.release.plugins.plugin_utils._host_call import library_archive, library_files

FILES = {"_one.py": b"from ._two import NUMBER\n", "_two.py": b"NUMBER = 2\n"}


def archive(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        for name, text in files.items():
            target.writestr(name, text)
    return content.getvalue()


def test_what_was_sent_is_compiled_and_runs(tmp_path: Path) -> None:
    digest = digest_of(FILES)
    install(tmp_path / "cache", digest, archive(FILES))
    directory = tmp_path / "cache" / digest
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert len(list(directory.glob("slipway/__pycache__/*.pyc"))) == len(FILES)
    script = f"import sys; sys.path.insert(0, {str(directory)!r}); from slipway._one import NUMBER; print(NUMBER)"
    assert subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True).stdout == b"2\n"


@pytest.mark.parametrize(
    "sent",
    [
        {**FILES, "_two.py": b"NUMBER = 3\n"},
        {**FILES, "_three.py": b""},
        {"_one.py": FILES["_one.py"]},
        {"_1.py": FILES["_one.py"], "_two.py": FILES["_two.py"]},
    ],
    ids=["changed", "more", "less", "renamed"],
)
def test_anything_else_than_what_was_meant_is_refused(tmp_path: Path, sent: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="not what was sent"):
        install(tmp_path, digest_of(FILES), archive(sent))
    assert not list(tmp_path.iterdir())


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    files = {"../../evil.py": b""}
    with pytest.raises(ValueError, match="not what was sent"):
        install(tmp_path, digest_of(files), archive(files))


def test_a_directory_of_somebody_else_s_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    with pytest.raises(ValueError, match="somebody else"):
        install(tmp_path, digest_of(FILES), archive(FILES))


def test_another_version_and_what_a_killed_call_left_go(tmp_path: Path) -> None:
    other = {"_one.py": b""}
    install(tmp_path, digest_of(other), archive(other))
    (tmp_path / "tmp4711" / "slipway").mkdir(parents=True)
    install(tmp_path, digest_of(FILES), archive(FILES))
    assert [path.name for path in tmp_path.iterdir()] == [digest_of(FILES)]


def test_two_who_come_at_once_both_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, compiled = digest_of(FILES), compileall.compile_dir

    def late(place: str, quiet: int) -> bool:
        # the other one is there first
        monkeypatch.setattr(compileall, "compile_dir", compiled)
        install(tmp_path, digest, archive(FILES))
        Path(place).mkdir(parents=True, exist_ok=True)
        return bool(compiled(place, quiet=quiet))

    monkeypatch.setattr(compileall, "compile_dir", late)
    install(tmp_path, digest, archive(FILES))
    assert [path.name for path in tmp_path.iterdir()] == [digest]
    assert (tmp_path / digest / "slipway" / "_one.py").read_bytes() == FILES["_one.py"]


def test_the_library_that_is_sent_is_all_of_the_directory_but_the_arguments() -> None:
    there = {path.name for path in Path(_scrub.__file__).parent.glob("*.py")}
    assert set(library_files()) == there - {"arguments.py"}
    assert len(library_archive()) < 1_000_000


def test_a_call_asks_for_a_library_that_is_missing_and_refuses_a_damaged_one(tmp_path: Path) -> None:
    call = {"name": "one", "library": digest_of(FILES)}
    assert run(tmp_path, dict(call)) == {"changed": False, "library_missing": True}
    damaged = base64.b64encode(archive({"_one.py": b""})).decode()
    answer = run(tmp_path, {**call, "content": damaged})
    assert answer["failed"]
    assert "cannot be put into" in answer["msg"]


def test_what_ansible_writes_into_it_is_all_that_it_needs(tmp_path: Path) -> None:
    source = (
        Path(host_call.__file__).read_text("utf-8").replace('Path("/var/cache/slipway")', f"Path({str(tmp_path)!r})")
    )
    call = base64.b64encode(json.dumps({"name": "one", "library": "0" * 64}).encode()).decode()
    given = json.dumps({"call": call, "_ansible_check_mode": True})
    script = source.replace("<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>", given)
    done = subprocess.run([sys.executable, "-I", "-"], input=script, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"changed": False, "library_missing": True}
