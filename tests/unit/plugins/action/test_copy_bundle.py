"""The copy of a bundle from the controller's side: what a host that answers, or is lost, makes of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.slipway.release.plugins.action import copy_bundle
from ansible_collections.slipway.release.plugins.module_utils._bundle_tar import header
from ansible_collections.slipway.release.plugins.module_utils._call_copy_bundle import answer
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger
from ansible_collections.slipway.release.plugins.plugin_utils import _bundle_sender

from tests.unit.plugins.module_utils.bundles import Files, Made, Picture, make, swarm

PART = 6000
HOST = {"inventory_hostname": "site1"}


class Near(copy_bundle.ActionModule):
    """Its host is this machine, whose engine has some images, and is lost after some pieces."""

    def __init__(self, made: Made, dest: Path, *pictures: Picture, until_lost: int = 100, check: bool = False) -> None:
        self.given = {"src": str(made.sums), "dest": str(dest), "signers": str(made.signers)}
        self._task: Any = SimpleNamespace(check_mode=check)
        scratch = made.directory.parent
        shell = SimpleNamespace(tmpdir=str(scratch), join_path=lambda *parts: "/".join(parts))
        self._connection: Any = SimpleNamespace(_shell=shell)
        self._until_lost = until_lost
        self.sent = 0
        ledger, engine = Ledger(scratch / "state/swarm"), Files(scratch, *pictures)
        self.site: Any = SimpleNamespace(ledger=ledger, runner=engine, profile=SimpleNamespace(name="swarm"))

    def validate_argument_spec(self, *_given: Any, **_named: Any) -> Any:  # noqa: ANN401 as Ansible's
        return None, self.given

    def ask(self, more: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert task_vars == HOST
        try:
            return answer(Module({**self.given, **more}), self.site)
        except SlipwayError as error:
            return {"failed": True, "msg": str(error)}

    def _transfer_file(self, local: str, remote: str) -> str:
        self._until_lost -= 1
        if self._until_lost < 0:
            raise AnsibleConnectionFailure("Connection\n timed out")
        self.sent += 1
        shutil.copyfile(local, remote)
        return remote


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(_bundle_sender.Sender.__init__, "__defaults__", (4000,))
    return make(tmp_path / "here", part=PART)


def names(made: Made) -> list[str]:
    return [*(path.name for path in made.parts), "swarm.sums.sig", "swarm.sums"]


def test_a_lost_connection_fails_with_where_it_goes_on_and_it_does(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "there" / "swarm.sums"
    lost = Near(made, dest, until_lost=1).answer(HOST)
    assert (lost["failed"], lost["lost_host"]) == (True, True)
    assert lost["msg"] == (
        "site1: the copy of swarm.001 stopped at 4000 of 6000 bytes (Connection timed out): "
        "run it again, it goes on there"
    )
    capsys.readouterr()
    assert Near(made, dest).answer(HOST) == {"changed": True, "copied": names(made)}
    assert f"site1: swarm.001 (1 of {len(names(made))}): 100 %" in capsys.readouterr().out
    assert {path.name for path in dest.parent.iterdir()} == set(names(made))
    assert Near(made, dest).answer(HOST) == {"changed": False, "copied": []}


def test_a_host_that_is_lost_before_anything_was_sent_is_a_lost_host(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_given: object) -> None:
        raise AnsibleConnectionFailure("no route")

    near = Near(made, tmp_path / "there" / "swarm.sums")
    monkeypatch.setattr(near, "ask", lose)
    with pytest.raises(AnsibleConnectionFailure):
        near.answer(HOST)


def test_check_mode_tells_what_would_be_copied_and_copies_nothing(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "there" / "swarm.sums"
    assert Near(made, dest, check=True).answer(HOST) == {"changed": True, "copied": names(made)}
    assert not dest.parent.exists()


def test_another_name_at_the_host_is_refused(made: Made, tmp_path: Path) -> None:
    told = Near(made, tmp_path / "there" / "other.sums").answer(HOST)
    assert told == {
        "failed": True,
        "msg": f"{tmp_path}/there/other.sums must end with swarm.sums: the parts are named after it",
    }


@pytest.mark.parametrize("after", [0, 1, 2])
def test_what_the_host_refuses_is_said_in_its_words(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    (tmp_path / "there").mkdir()
    near, asked = Near(made, tmp_path / "there" / "swarm.sums"), []

    def refuse(more: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        asked.append(more)
        return {"failed": True, "msg": "no room"} if len(asked) > after else Near.ask(near, more, task_vars)

    monkeypatch.setattr(near, "ask", refuse)
    told = near.answer(HOST)
    assert (told["failed"], told["msg"]) == (True, "no room")


def foreign(made: Made) -> None:
    made.signers.write_text(made.signers.read_text().replace("slipway-bundle ", "somebody ", 2))


def other_application(made: Made) -> None:
    made.edit(lambda value: value.update(application="billing"))


def other_architecture(made: Made) -> None:
    made.claim(replace(made.manifest, architecture="s390x"))


UNFIT: dict[str, tuple[Callable[[Made], object], str]] = {
    "nobody trusted signed it": (foreign, r"swarm.sums.sig: no key in .* has signed swarm.sums as it is here"),
    "a flipped bit in the last part": (
        lambda made: made.flip(len(made.content) - 1),
        r"swarm.\d+: it is not what was signed",
    ),
    "for another application": (other_application, "it is for the application billing, this site runs swarm"),
    "for another architecture": (other_architecture, "it is for s390x, this host is"),
    "no manifest": (lambda made: made.pack([(header("x", 1), b"x")]), "it does not begin with slipway.json"),
}


@pytest.mark.promise("X4")
@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("check", [False, True])
def test_what_a_site_must_not_take_is_not_sent(name: str, made: Made, tmp_path: Path, *, check: bool) -> None:
    spoil, reason = UNFIT[name]
    spoil(made)
    near = Near(made, tmp_path / "there" / "swarm.sums", check=check)
    told = near.answer(HOST)
    assert told["failed"]
    assert re.search(reason, told["msg"]), told
    assert near.sent == 0
    assert not (tmp_path / "there").exists()


@pytest.mark.promise("X4")
def test_a_delta_is_not_sent_where_its_base_is_not(tmp_path: Path) -> None:
    whole = make(tmp_path / "base")
    with whole.opened() as base:
        delta = make(tmp_path / "delta", "1.2.0", base=base, pictures=swarm("1.2.0", {"app/new.rb": b"new\n" * 900}))
    dest = tmp_path / "there" / "swarm.sums"
    one, _ = swarm()
    near = Near(delta, dest, replace(one, layers=one.layers[1:]))
    told = near.answer(HOST)
    assert told["failed"]
    assert re.search(r"it is the difference to 1.1.0, of which this site lacks \d of \d layers", told["msg"]), told
    assert near.sent == 0
    assert not dest.parent.exists()
    assert Near(delta, dest, *swarm()).answer(HOST)["changed"]


def test_parts_that_lie_on_another_medium_are_left_to_load(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "there" / "swarm.sums"
    first, *rest = made.parts
    for path in rest:
        path.rename(tmp_path / path.name)
    # the manifest goes on in the second part, and the first comes nevertheless
    told = Near(made, dest).answer(HOST)
    assert "bring the medium that has it" in told["msg"]
    assert [path.name for path in dest.parent.iterdir()] == [first.name]
    for path in rest:
        (tmp_path / path.name).rename(path)
    first.unlink()
    assert Near(made, dest).answer(HOST)["changed"]
    assert {path.name for path in dest.parent.iterdir()} == set(names(made)) | {first.name}
