"""What the pages tell people to type, as far as no other test has a reason to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.host import Host as LabHost
from tests.scenarios.conftest import INVENTORY, ROOT, SITE, Run

Types = Callable[..., Run]
OnHost = Callable[..., str]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"


def test_a_smoke_test_tries_all_or_what_it_is_asked_for(types: Types) -> None:
    page, every = "docs/smoke_test.md", "ansible-playbook playbooks/smoke_test.yml -i prod"
    seen = [
        {item["probe"] for item in run.record["hosts"][SITE]["observations"]}
        for run in (types(page, every), types(page, f"{every} -e"))
    ]
    assert {"flow", "page", "worker"} <= seen[0]
    assert "page" in seen[1]
    assert "flow" not in seen[1]


def test_a_site_is_freed_from_a_run_that_died(types: Types, sh: Sh) -> None:
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    dead = {"id": "r2", "token": 0, "verb": "deploy", "owner": "ben@elsewhere", "started": "", "last_seen": 0}
    sh(f"cat >{STATE}/ledger.json <<'END'\n{json.dumps({**state, 'run': dead})}\nEND")
    types("docs/unlock.md", "ansible-playbook")
    assert json.loads(sh(f"cat {STATE}/ledger.json"))["run"] is None


def test_a_deploy_by_its_full_name_from_another_directory(types: Types, tmp_path: Path) -> None:
    run = types(
        "docs/collection.md",
        "ansible-playbook slipway.release.deploy",
        given={"INVENTORY": str(ROOT / INVENTORY)},
        directory=tmp_path,
        environment={
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        },
    )
    assert run.changed == 0
    assert run.record["hosts"][SITE]["release"] == "1.1.0"


def test_a_fleet_of_one_is_one_wave_that_nobody_waits_after(types: Types) -> None:
    run = types("docs/fleet.md", "ansible-playbook")
    assert run.changed == 0
    assert run.record["seconds"] < 60


def test_what_lies_on_the_host_is_looked_at_by_hand(types_on_host: OnHost, sh: Sh) -> None:
    assert json.loads(types_on_host("docs/status.md", "sudo cat"))["current"] == "1.1.0"
    assert len(types_on_host("docs/status.md", "sudo tail").splitlines()) == 5
    assert "timers listed" in types_on_host("docs/troubleshooting.md", "systemctl list-timers")
    sh("for name in web worker; do docker tag slipway/swarm-$name:1.0.0 slipway/swarm-$name:0.9.0; done")
    assert "Untagged" in types_on_host("docs/ledger.md", "sudo docker image rm")


def test_a_host_s_key_is_read_compared_and_known(types: Types, sh: Sh, tmp_path: Path) -> None:
    given = {"swarm.customer-a.example": LabHost(SITE).address}
    (tmp_path / ".ssh").mkdir()
    here: dict[str, Any] = {"directory": tmp_path, "environment": {"HOME": str(tmp_path)}}
    printed = types("inventory/README.md", "ssh-keygen -lf", block=True, given=given, **here).output
    # as somebody reads it at the host's console
    own = sh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert own in printed
    assert LabHost(SITE).address in (tmp_path / ".ssh/known_hosts").read_text()


@pytest.fixture
def git_server(sh: Sh) -> Iterator[str]:
    """The host serves git to itself."""
    sh("""
        runuser -u deploy -- bash -ec '
          cd; cp -a .ssh .ssh.kept
          ssh-keygen -q -t ed25519 -N "" -f .ssh/id_ed25519 <<<y
          cat .ssh/id_ed25519.pub >>.ssh/authorized_keys
        '
    """)
    yield "localhost"
    sh("cd ~deploy && rm -r .ssh && mv .ssh.kept .ssh")


def test_the_host_knows_the_git_server_and_reads_from_it(types_on_host: OnHost, sh: Sh, git_server: str) -> None:
    page = "inventory/README.md"
    key = types_on_host(page, "sudo -u deploy ssh-keyscan", given={"git.example.com": git_server})
    sh(f"cat >>~deploy/.ssh/known_hosts <<'END'\n{key}END")
    place = {"git@git.example.com:swarm/swarm.git": f"deploy@{git_server}:/srv/git/swarm.git"}
    assert "refs/tags/1.1.0" in types_on_host(page, "sudo -u deploy git", given=place)
