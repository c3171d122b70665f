"""The tutorial is typed from its beginning to its end, on a host with an application that is not the sample."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.evidence import EVIDENCE
from lab.host import Host as LabHost
from lab.stock import REPOSITORY, SOURCE
from tests.scenarios.conftest import ROOT, SITE
from tests.typed import SHELL, Section, execute, sections, typed

Sh = Callable[[str], str]
Type = Callable[..., str]

PAGE = {section.title.partition(". ")[2]: section for section in sections("docs/tutorial.md")}
OVERRIDE = "-e \"release_window_override='the first release, agreed with customer A'\""
STATE = "/var/lib/slipway/shop"
COUNT = "docker exec shop-db-1 psql -XAt -U shopkeeper orders -c 'SELECT count(*) FROM orders'"
COLUMN = (
    "docker exec shop-db-1 psql -XAt -U shopkeeper orders "
    "-c \"SELECT count(*) FROM information_schema.columns WHERE column_name = 'due_on'\""
)
SERVED = "curl --silent --fail http://127.0.0.1/orders"

pytestmark = [pytest.mark.promise("U1"), pytest.mark.timeout(900)]


class Reader:
    """Somebody who follows the page, command by command.

    :param directory: a checkout of their own.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.left = {title: list(section.commands) for title, section in PAGE.items()}

    def types(self, section: Section, begins: str, *, fails: bool = False, more: str = "", **given: str) -> str:
        """Type the next command of a section; returns what was printed."""
        command = self.left[section.title.partition(". ")[2]].pop(0)
        assert command.startswith(begins), f"{command} comes where {begins} is expected"
        text = f"{command} {more}"
        for name, value in given.items():
            text = text.replace(name, value)
        return execute([command], text, fails=fails, directory=self.directory, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        # the controller is not where the host is
        return {"SLIPWAY_RECORD_DIR": str(self.directory / "records"), "TZ": "IST-5:30"}


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    directory = tmp_path_factory.mktemp("checkout")
    shared = ("ansible.cfg", "collections", "deploy.yml", "examples", "playbooks", "plugins", "roles", "rollback.yml")
    for name in shared:
        (directory / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "inventory", directory / "inventory", symlinks=True)
    (directory / "prod").symlink_to("inventory/prod")
    return Reader(directory)


def profile(reader: Reader, text: str) -> None:
    path = reader.directory / "inventory/prod/group_vars/sites/application.yml"
    assert not path.is_symlink()
    path.write_text(text)


def test_a_controller_is_made(reader: Reader) -> None:
    commands = reader.left["The controller"]
    execute(commands, "\n".join(commands), fails=False, directory=ROOT)
    commands.clear()


def test_the_page_shows_the_application_that_is_there(sh: Sh, reader: Reader) -> None:
    section = PAGE["What the application needs"]
    assert "---\n" + section.blocks[0][1] == (SOURCE / "base/docker-compose.yml").read_text()
    there = "\n".join(section.commands)
    reader.left["What the application needs"].clear()
    on_host = ("docker", "exec", LabHost(SITE).container, "runuser", "-u", "deploy", "--", *SHELL)
    answers = execute(section.commands, there, fails=False, directory=ROOT, through=on_host).splitlines()
    assert {"app", "db"} <= set(answers)
    assert any("orders" in line and "shopkeeper" in line for line in answers)
    assert answers[-1] == "200"
    # Rails itself was generated, and nothing of it comes from the sample
    ours = {path.relative_to(SOURCE / "base") for path in (SOURCE / "base").rglob("*") if path.is_file()}
    assert {str(path) for path in ours} & {
        "config/application.rb",
        "config/environments/production.rb",
        "Gemfile",
    } == set()
    assert sh("ls /opt/shop/config/application.rb /opt/shop/public/icon.png")


def test_a_host_and_the_variables_of_a_site_are_all_that_is_written(reader: Reader) -> None:
    group = reader.directory / "inventory/prod/group_vars/sites"
    hosts: dict[str, Any] = yaml.safe_load(PAGE["The host"].blocks[0][1])
    assert hosts["sites"]["hosts"]["customer-a"]["ansible_host"] == "shop.customer-a.example"
    hosts["sites"]["hosts"]["customer-a"]["ansible_host"] = LabHost(SITE).address
    hosts["sites"]["vars"] |= {
        "ansible_ssh_private_key_file": f"{ROOT}/build/lab/id_ed25519",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={ROOT}/build/lab/known_hosts",
    }
    (reader.directory / "prod/hosts.yml").write_text(yaml.safe_dump(hosts))
    assert "customer-a | SUCCESS" in reader.types(PAGE["The host"], "ansible sites -i prod")
    site = PAGE["Variables of the site"].blocks[0][1]
    assert "git@git.example.com:shop/shop.git" in site
    # nobody visits it while it is watched
    briefly = "monitor_looks: 1\n"
    (group / "site.yml").write_text(site.replace("git@git.example.com:shop/shop.git", REPOSITORY) + briefly)


@pytest.mark.promise("G8")
def test_an_empty_profile_is_told_what_it_lacks_and_filled(reader: Reader) -> None:
    section = PAGE["The empty profile"]
    reader.types(section, "rm inventory/prod/")
    reader.types(section, "echo ")
    printed = reader.types(section, "ansible-playbook playbooks/preflight.yml", fails=True)
    assert words(section.blocks[0][1]) in words(printed)
    profile(reader, section.blocks[1][1])
    printed = reader.types(section, "ansible-playbook playbooks/status.yml")
    assert "current: null" in printed
    assert re.search(r"containers:\s+shop-app-1: \w+\s+shop-db-1: ", printed)


@pytest.mark.promise("G1", "G2", "G5")
def test_nothing_comes_in_before_what_must_be_known_of_it_is_known(reader: Reader) -> None:
    section = PAGE["Look before anything is changed"]
    reader.types(section, "ansible-playbook playbooks/smoke_test.yml")
    printed = reader.types(section, "ansible-playbook playbooks/preflight.yml", fails=True)
    assert "tests: there is no evidence in evidence/1.5.0" in words(printed)
    section = PAGE["What must be known of the release"]
    assert words(section.blocks[0][1]) in words((SOURCE / "releases/1.5.0/CHANGELOG.md").read_text())
    shutil.copytree(EVIDENCE / SITE, reader.directory / "evidence")
    printed = reader.types(section, "ansible-playbook playbooks/preflight.yml")
    assert "release: 1.4.2 -> 1.5.0" in printed
    assert "switch (none)" in printed


@pytest.mark.promise("M1")
def test_what_runs_is_adopted_by_a_backup(reader: Reader, sh: Sh) -> None:
    section = PAGE["Adopt what runs"]
    reader.types(section, "ansible-playbook playbooks/backup.yml")
    assert "current: 1.4.2" in reader.types(section, "ansible-playbook playbooks/status.yml")
    assert "slipway/shop-app:1.4.2" in sh("docker images --format '{{.Repository}}:{{.Tag}}'")
    assert sh(f"ls {STATE}/backups/*-backup/manifest.json").strip()


@pytest.mark.promise("D5", "D6")
def test_flows_are_tried_on_what_runs_and_leave_nothing(reader: Reader, sh: Sh) -> None:
    section = PAGE["Say what must work"]
    profile(reader, section.blocks[0][1])
    reader.types(section, "ansible-playbook playbooks/smoke_test.yml")
    printed = reader.types(section, "ansible-playbook playbooks/smoke_test.yml")
    assert "flow" in printed
    assert sh(COUNT).strip() == "3000"


@pytest.mark.promise("D1", "D2", "D3", "D4", "G6", "M2", "M3")
def test_the_release_comes_in_with_its_migration(reader: Reader, sh: Sh) -> None:
    section = PAGE["The first deploy"]
    before = sh("docker inspect --format {{.State.StartedAt}} shop-db-1")
    checked = reader.types(section, "ansible-playbook deploy.yml", more=OVERRIDE)
    assert "rehearsal of 1 migration on a copy, 1 migration, switch (none)" in words(checked)
    printed = reader.types(section, "ansible-playbook deploy.yml", more=OVERRIDE)
    assert "customer-a: shop 1.5.0 DEPLOYED" in printed
    assert "to go back: ansible-playbook rollback.yml -i prod -l customer-a" in words(printed)
    assert "Export" in sh(SERVED)
    assert (sh(COUNT).strip(), sh(COLUMN).strip()) == ("3000", "1")
    # PostgreSQL, in its directory beside the Compose files, was not touched
    assert sh("docker inspect --format {{.State.StartedAt}} shop-db-1") == before


@pytest.mark.promise("M1", "R6")
def test_what_was_lost_comes_back_from_a_backup(reader: Reader, sh: Sh) -> None:
    section = PAGE["When data was lost"]
    reader.types(section, "ansible-playbook playbooks/backup.yml")
    printed = reader.types(section, "ansible-playbook playbooks/restore.yml")
    backup = max(re.findall(r"id: (\S+-backup)\b", printed))
    sh("docker exec shop-db-1 psql -q -U shopkeeper orders -c 'DELETE FROM orders WHERE id > 7'")
    assert sh(COUNT).strip() == "7"
    reader.types(section, "ansible-playbook playbooks/restore.yml", BACKUP=backup)
    assert sh(COUNT).strip() == "3000"
    kept = sh("docker exec shop-db-1 psql -XAt -U shopkeeper -d postgres -c 'SELECT datname FROM pg_database'")
    assert re.search(r"^orders_kept_", kept, re.MULTILINE)


@pytest.mark.promise("R6")
def test_a_restore_is_undone_and_a_watch_ended_as_other_pages_say(
    reader: Reader, sh: Sh, types_on_host: Callable[..., str]
) -> None:
    saved = sh(f"ls {STATE}/backups | grep -- -before").split()[-1]
    again = "ansible-playbook playbooks/restore.yml -i prod -l customer-a -e restore_backup=RUN-before"
    there: dict[str, Any] = {"directory": reader.directory, "environment": reader.environment}
    typed("docs/restore.md", again, given={"RUN-before": saved}, **there)
    # as it was when the backup was put back: something was lost
    assert sh(COUNT).strip() == "7"
    assert sh("systemctl is-active slipway-shop.timer").strip() == "active"
    types_on_host("docs/watch.md", "sudo systemctl", directory="/", given={"swarm": "shop"})
    assert sh("systemctl is-active slipway-shop.timer || true").strip() == "inactive"


@pytest.mark.promise("W1", "A3")
def test_its_report_is_written(reader: Reader) -> None:
    reader.types(PAGE["What comes with it"], "ansible-playbook playbooks/report.yml")
    page = (reader.directory / "build/reports/customer-a-1.5.0.html").read_text()
    assert "shop 1.5.0 took the place of 1.4.2" in page


@pytest.mark.promise("R6", "M4")
def test_the_release_before_comes_back_and_nothing_of_the_page_was_left_out(reader: Reader, sh: Sh) -> None:
    section = PAGE["Going back"]
    reader.types(section, "ansible-playbook rollback.yml")
    printed = reader.types(section, "ansible-playbook rollback.yml")
    assert "customer-a: shop 1.5.0 TAKEN BACK, 1.4.2 runs" in printed
    assert "Export" not in sh(SERVED)
    # what was written since stays
    assert (sh(COUNT).strip(), sh(COLUMN).strip()) == ("7", "1")
    assert {title for title, commands in reader.left.items() if commands} == set()
