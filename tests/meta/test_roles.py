"""Every role says what it takes, and takes what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.module_utils.arguments import RETENTION_ARGUMENTS
from ansible_collections.slipway.release.plugins.modules import conclude, migrate, rollback

from tests.unit.playing import ansible_playbook

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
SHARED = {"application", "application_environment", "release_run", "release_version"}

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return found


def played(part: object) -> Iterator[tuple[str, str]]:
    """Every role that a part of a playbook plays, with its entry point."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in {"ansible.builtin.import_role", "ansible.builtin.include_role"}:
                yield value["name"], value.get("tasks_from", "main")
            else:
                yield from played(value)
    elif isinstance(part, list):
        for item in part:
            yield from played(item)


@each_role
def test_the_arguments_are_the_defaults_and_the_required_ones(role: Path) -> None:
    options = {name: item for entry in entry_points(role).values() for name, item in entry["options"].items()}
    optional = {name for name, item in options.items() if not item.get("required")}
    assert optional == set(load(role / "defaults/main.yml"))


@each_role
def test_a_default_in_the_specification_is_the_default(role: Path) -> None:
    defaults = load(role / "defaults/main.yml")
    for entry in entry_points(role).values():
        for name, item in entry["options"].items():
            if "default" in item:
                assert item["default"] == defaults[name], name


def test_a_default_that_other_roles_leave_to_their_modules_is_the_modules_own() -> None:
    backup = load(ROOT / "roles/backup/defaults/main.yml")
    assert backup == {f"backup_{name}": option["default"] for name, option in RETENTION_ARGUMENTS.items()}
    seconds = load(ROOT / "roles/rollback/defaults/main.yml")["rollback_timeout"]
    assert rollback.ARGUMENTS["timeout"]["default"] == seconds
    assert [module.ARGUMENTS["undo_timeout"]["default"] for module in (conclude, migrate)] == [seconds, seconds]


@each_role
def test_public_variables_bear_the_role_s_name(role: Path) -> None:
    names = {name for entry in entry_points(role).values() for name in entry["options"]}
    assert {name for name in names - SHARED if not name.startswith(f"{role.name}_")} == set()


@each_role
def test_every_entry_point_has_a_task_file_and_is_used(role: Path) -> None:
    used = set()
    for path in [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]:
        used |= set(played(yaml.safe_load(path.read_text())))
    for name in entry_points(role):
        assert (role / f"tasks/{name}.yml").exists()
        assert (f"slipway.release.{role.name}", name) in used


@pytest.mark.parametrize("role", [role.name for role in ROLES if "main" not in entry_points(role)])
def test_a_role_that_is_parts_alone_is_not_played_as_a_whole(role: str, tmp_path: Path) -> None:
    play = [{"hosts": "localhost", "gather_facts": False, "roles": [f"slipway.release.{role}"]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = ansible_playbook(tmp_path, tmp_path / "play.yml", "-i", "localhost,")
    assert done.returncode == 2
    assert "name the part with tasks_from" in done.stdout


@each_role
def test_task_files_are_short(role: Path) -> None:
    for path in role.glob("tasks/*.yml"):
        assert len(path.read_text().splitlines()) <= 90, path


def test_the_page_of_the_roles_is_what_they_say_and_a_change_is_noticed(tmp_path: Path) -> None:
    for name in ("playbooks", "roles", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs/roles.md"
    command = [sys.executable, str(tmp_path / "scripts/roles")]
    subprocess.run(command, check=True)
    assert page.read_text() == (ROOT / "docs/roles.md").read_text(), "run scripts/roles"
    assert re.findall(r"^## (.*)", page.read_text(), re.MULTILINE) == [role.name for role in ROLES]
    subprocess.run([*command, "--check"], check=True)
    changed = tmp_path / "roles/monitor/defaults/main.yml"
    changed.write_text(changed.read_text().replace("monitor_looks: 3", "monitor_looks: 4"))
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 1
