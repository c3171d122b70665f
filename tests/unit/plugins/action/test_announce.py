"""Real runs of ansible-playbook against a host that cannot be reached: customers are told from the controller."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.unit.plugins import post_office
from tests.unit.plugins.action import unreachable
from tests.unit.plugins.plugin_utils.announcing import ANNA, BEN, CHANGELOG
from tests.unit.plugins.post_office import PASSWORD, USER, Certificate, MailServer

pytestmark = pytest.mark.promise("A1", "A2")

PLAY = """
- hosts: all
  gather_facts: false
  vars:
    application: {name: swarm}
    release_version: 1.2.0
    announce_changelog: HERE/CHANGELOG.md
    announce_outbox: HERE/outbox
    announce_preview: PREVIEW
    # not quoted: YAML makes times of them
    announce_window: {from: 2026-12-01T22:00:00+01:00, until: 2026-12-01T23:30:00+01:00}
    server: {server: localhost, port: PORT, from: noreply@vendor.example, to: "{{ vault_customers }}"}
    login: {user: USER, password: "{{ vault_password }}"}
    channels: {ca_file: "CERTIFICATE", mail: "{{ server | combine(login) }}"}
  tasks:
"""
BY_HAND = """
    - name: Tell of the window
      ansible.builtin.import_role:
        name: slipway.release.announce
      vars:
        announce_event: window
        announce_channels: "{{ channels }}"
"""
# as the playbook deploy does it
QUIETLY = """
    - name: Announce the start
      ansible.builtin.include_role:
        name: slipway.release.announce
        tasks_from: quietly
      vars:
        announce_event: start
        announce_run: r1
        announce_channels: CHANNELS
      when: announce_channels is defined
"""
NOBODY = QUIETLY.replace("        announce_channels: CHANNELS\n", "")
GO_ON = """
    - name: Go on
      ansible.builtin.debug:
        msg: the deploy goes on
"""


class Controller:
    """A directory with what an operator has there, the secrets in a vault."""

    def __init__(self, directory: Path, server: MailServer, certificate: Certificate) -> None:
        self.directory, self.server, self.certificate = directory, server, certificate
        (directory / "CHANGELOG.md").write_text(CHANGELOG)
        (directory / "key").write_text("a test's own")
        vault = VaultLib([("default", VaultSecret(b"a test's own"))])
        password = textwrap.indent(vault.encrypt(PASSWORD).decode(), "  ")
        customers = vault.encrypt(f"vault_customers: [{ANNA}, {BEN}]")
        # a file that is encrypted, and a text that is
        (directory / "customers.yml").write_bytes(customers)
        (directory / "password.yml").write_text(f"vault_password: !vault |\n{password}")

    def play(self, tasks: str, *options: str, preview: bool = False) -> tuple[int, str]:
        """Run a playbook; returns its exit code and all that the operator saw, with every detail."""
        text = PLAY + tasks
        for name, value in {
            "HERE": str(self.directory),
            "PREVIEW": str(preview).lower(),
            "CERTIFICATE": str(self.certificate.path),
            "PORT": str(self.server.port),
            "USER": USER,
        }.items():
            text = text.replace(name, value)
        secrets = [f"-e@{self.directory}/{name}.yml" for name in ("customers", "password")]
        key = f"--vault-password-file={self.directory}/key"
        done = unreachable.play(self.directory, text, key, *secrets, "-vvv", *options)
        output = " ".join(done.stdout.split())
        files = [path for path in self.directory.rglob("*") if path.is_file() and path.name != "customers.yml"]
        for secret in (ANNA, BEN, PASSWORD):
            assert secret not in output
            assert not [path for path in files if secret in path.read_text()]
        assert "Traceback" not in output
        return done.returncode, output

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "records/latest.json").read_text())["hosts"]["site1"]
        return found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def controller(tmp_path: Path, certificate: Certificate) -> Iterator[Controller]:
    with post_office.mail_server(certificate) as server:
        yield Controller(tmp_path, server, certificate)


def test_the_one_task_that_carries_secrets_shows_its_arguments_to_no_callback() -> None:
    tasks = yaml.safe_load((unreachable.ROOT / "roles/announce/tasks/announce.yml").read_text())
    carry = [task for task in tasks if "announce_channels" in str(task)]
    assert [task["no_log"] for task in carry] == [True]


def test_a_window_is_told_once_and_the_record_says_so(controller: Controller) -> None:
    for sent_now in (True, False):
        code, output = controller.play(BY_HAND)
        assert code == 0, output
        assert ("changed=1" in output) == sent_now
        (told,) = controller.record["announced"]
        assert (told["event"], told["channel"], told["state"]) == ("window", "mail", "sent")
        assert controller.record["remote_calls"] == 0
        assert "told window by mail: sent" in output
    assert (controller.server.recipients, controller.server.logins) == ([[ANNA, BEN]], [USER])
    assert "Tuesday 1 December 2026, 22:00 to 23:30 (UTC+01:00)" in controller.server.mails[0]["Subject"]


@pytest.mark.parametrize("options, preview", [(("--check",), False), ((), True)])
def test_check_mode_and_a_preview_show_it_and_send_nothing(
    controller: Controller, options: tuple[str, ...], preview: bool
) -> None:
    code, output = controller.play(BY_HAND, *options, preview=preview)
    assert code == 0, output
    assert (controller.server.letters, controller.server.logins) == ([], [])
    assert "changed=0" in output
    assert controller.record["announced"][0]["state"] == "preview"
    assert (controller.directory / "outbox/site1/preview/window-1.2.0.html").is_file()


def test_by_hand_a_failure_fails_in_one_line(controller: Controller) -> None:
    controller.server.refuse = {ANNA, BEN}
    code, output = controller.play(BY_HAND)
    assert code != 0
    assert "window of 1.2.0 by mail failed: every address was refused (550); run it again" in output


def test_a_deploy_goes_on_whatever_comes_of_it_and_pays_one_skipped_task_where_nobody_is_to_be_told(
    controller: Controller,
) -> None:
    controller.server.refuse = {ANNA, BEN}
    wrong = (
        '"{{ channels }}"',
        '{mail: "{{ server }}", fax: "{{ vault_customers }}"}',
        '"{{ vault_customers }}"',
        '{webhook: "{{ vault_forgotten }}"}',
    )
    code, output = controller.play(NOBODY + "".join(QUIETLY.replace("CHANNELS", item) for item in wrong) + GO_ON)
    assert code == 0, output
    assert "the deploy goes on" in output
    assert "skipped=1 rescued=1" in output
    told = controller.record["announced"]
    assert {item["state"] for item in told} == {"failed"}
    assert [item["detail"].partition(" did you")[0] for item in told[:2]] == [
        "every address was refused (550)",
        "announce.channels.fax: is unknown: known keys are ca_file, file, mail, webhook",
    ]
    assert "argument 'channels' is of type" in told[2]["detail"]
    assert "'vault_forgotten' is undefined" in told[3]["detail"]
