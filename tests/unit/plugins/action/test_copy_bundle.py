"""The copy of a bundle from the controller's side: what a host that answers, or is lost, makes of it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.slipway.release.plugins.action import copy_bundle
from ansible_collections.slipway.release.plugins.module_utils._call_copy_bundle import answer
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.plugin_utils import _bundle_sender

PARTS = {"swarm.001": b"a" * 1000, "swarm.002": b"b" * 250}
NAMES = [*PARTS, "swarm.sums.sig", "swarm.sums"]
HOST = {"inventory_hostname": "site1"}


class Near(copy_bundle.ActionModule):
    """Its host is this machine, and is lost after some pieces."""

    def __init__(self, src: Path, dest: Path, until_lost: int = 100, *, check: bool = False) -> None:
        self.given = {"src": str(src), "dest": str(dest)}
        self._task: Any = SimpleNamespace(check_mode=check)
        shell = SimpleNamespace(tmpdir=str(src.parent.parent), join_path=lambda *parts: "/".join(parts))
        self._connection: Any = SimpleNamespace(_shell=shell)
        self._until_lost = until_lost

    def validate_argument_spec(self, *_given: Any, **_named: Any) -> Any:  # noqa: ANN401 as Ansible's
        return None, self.given

    def ask(self, more: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert task_vars == HOST
        try:
            return answer(Module({**self.given, **more}), None)  # type: ignore[arg-type]  # it needs no site
        except SlipwayError as error:
            return {"failed": True, "msg": str(error)}

    def _transfer_file(self, local: str, remote: str) -> str:
        self._until_lost -= 1
        if self._until_lost < 0:
            raise AnsibleConnectionFailure("Connection\n timed out")
        shutil.copyfile(local, remote)
        return remote


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_bundle_sender.Sender.__init__, "__defaults__", (400,))
    directory = tmp_path / "here"
    directory.mkdir()
    sums = "".join(f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in PARTS.items())
    for name, text in {**PARTS, "swarm.sums": sums.encode(), "swarm.sums.sig": b"signed"}.items():
        (directory / name).write_bytes(text)
    return directory / "swarm.sums"


def test_a_lost_connection_fails_with_where_it_goes_on_and_it_does(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "there" / "swarm.sums"
    lost = Near(bundle, dest, until_lost=2).answer(HOST)
    assert (lost["failed"], lost["lost_host"]) == (True, True)
    assert lost["msg"] == (
        "site1: the copy of swarm.001 stopped at 800 of 1000 bytes (Connection timed out): "
        "run it again, it goes on there"
    )
    capsys.readouterr()
    assert Near(bundle, dest).answer(HOST) == {"changed": True, "copied": NAMES}
    assert "site1: swarm.001 (1 of 4): 100 %" in capsys.readouterr().out
    assert {path.name for path in dest.parent.iterdir()} == set(NAMES)
    assert Near(bundle, dest).answer(HOST) == {"changed": False, "copied": []}


def test_a_host_that_is_lost_before_anything_was_sent_is_a_lost_host(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_given: object) -> None:
        raise AnsibleConnectionFailure("no route")

    near = Near(bundle, tmp_path / "there" / "swarm.sums")
    monkeypatch.setattr(near, "ask", lose)
    with pytest.raises(AnsibleConnectionFailure):
        near.answer(HOST)


def test_check_mode_tells_what_would_be_copied_and_copies_nothing(bundle: Path, tmp_path: Path) -> None:
    dest = tmp_path / "there" / "swarm.sums"
    assert Near(bundle, dest, check=True).answer(HOST) == {"changed": True, "copied": NAMES}
    assert not dest.parent.exists()


def test_another_name_at_the_host_is_refused(bundle: Path, tmp_path: Path) -> None:
    told = Near(bundle, tmp_path / "there" / "other.sums").answer(HOST)
    assert told == {
        "failed": True,
        "msg": f"{tmp_path}/there/other.sums must end with swarm.sums: the parts are named after it",
    }


@pytest.mark.parametrize("after", [0, 1])
def test_what_the_host_refuses_is_said_in_its_words(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    (tmp_path / "there").mkdir()
    near, asked = Near(bundle, tmp_path / "there" / "swarm.sums"), []

    def refuse(more: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        asked.append(more)
        return {"failed": True, "msg": "no room"} if len(asked) > after else Near.ask(near, more, task_vars)

    monkeypatch.setattr(near, "ask", refuse)
    told = near.answer(HOST)
    assert (told["failed"], told["msg"]) == (True, "no room")
