"""The repository is a collection too, and its modules are documented as they are."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.release.plugins.module_utils._bundle_writer import PART
from ansible_collections.slipway.release.plugins.module_utils._gates import GATES
from ansible_collections.slipway.release.plugins.module_utils._ledger import CONTROLLER_TIMEOUT
from ansible_collections.slipway.release.plugins.module_utils._plan_rehearse import REQUIRED, STAGING, WAIVED
from ansible_collections.slipway.release.plugins.module_utils._plan_rollback import AUTO, BACK, KEEP
from ansible_collections.slipway.release.plugins.module_utils._probe import KINDS
from ansible_collections.slipway.release.plugins.module_utils._verify import RESTORED_UP_TO
from ansible_collections.slipway.release.plugins.module_utils._zstd import LEVEL
from ansible_collections.slipway.release.plugins.module_utils.arguments import RETENTION_ARGUMENTS
from ansible_collections.slipway.release.plugins.modules import (
    bundle,
    fleet_gate,
    preflight,
    probe,
    rehearse,
    rollback,
)
from ansible_collections.slipway.release.plugins.plugin_utils import _run_record
from ansible_collections.slipway.release.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.slipway.release.plugins.plugin_utils._fleet import SKIP, STOP
from ansible_collections.slipway.release.plugins.plugin_utils._host_call import ActionModule as HostCall

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections/ansible_collections/slipway/release"
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ACTIONS = {
    path.stem: importlib.import_module(f"ansible_collections.slipway.release.plugins.action.{path.stem}").ActionModule
    for path in sorted((ROOT / "plugins/action").glob("*.py"))
}
ON_CONTROLLER = {name for name, action in ACTIONS.items() if issubclass(action, ControllerAction)}
CALLS = [name for name in MODULES if name not in {"host_call", *ON_CONTROLLER}]
LIBRARY = sorted((ROOT / "plugins/module_utils").glob("_*.py"))


def test_the_links_of_the_collection_lead_to_the_repository() -> None:
    links = sorted(COLLECTION.iterdir())
    assert {path.name for path in links} == {"README.md", "galaxy.yml", "meta", "playbooks", "plugins", "roles"}
    for link in links:
        assert not link.readlink().is_absolute()
        assert link.resolve() == (ROOT / link.name).resolve()


def test_every_module_that_reaches_a_host_turns_a_lost_one_into_a_failure() -> None:
    links = {path.stem: path.readlink() for path in (ROOT / "plugins/action").glob("*.py") if path.is_symlink()}
    assert {str(target) for target in links.values()} == {"../plugin_utils/_host_call.py"}
    # one that needs more than a call adds to what the others are
    assert set(links) | {name for name, action in ACTIONS.items() if issubclass(action, HostCall)} == set(CALLS)


def test_what_connects_to_no_host_is_counted_as_no_remote_call() -> None:
    assert _run_record._ON_CONTROLLER == ON_CONTROLLER


def test_ansible_doc_reads_every_module() -> None:
    names = [f"slipway.release.{name}" for name in MODULES]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "doc", "--json", "-t", "module", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(done.stdout)
    assert set(shown) == set(names)
    for name, item in shown.items():
        assert item["doc"]["attributes"]["check_mode"]["support"] in {"full", "partial"}, name
        assert item["examples"], name
        assert item["return"], name


def test_versions_agree() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert galaxy["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("path", [*LIBRARY, ROOT / "plugins/modules/host_call.py"], ids=lambda path: path.stem)
def test_what_runs_on_hosts_needs_the_standard_library_alone_and_is_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"{path.name} imports from outside module_utils"


@pytest.mark.parametrize("name", sorted({*MODULES} - {"host_call"}))
def test_a_module_says_what_it_takes(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.slipway.release.plugins.modules.{name}")
    documented = yaml.safe_load(module.DOCUMENTATION)
    own = set(documented.get("options", {}))
    assert own <= set(module.ARGUMENTS) <= own | {"application", "environment", "run", *RETENTION_ARGUMENTS}
    for option in own:
        taken, said = module.ARGUMENTS[option], documented["options"][option]
        for key in ("type", "elements", "default"):
            assert taken.get(key) == said.get(key), f"{option}: {key}"
        assert taken.get("required", False) == said.get("required", False), option
        # some choices are looked at by what reads the rest of it, which names all that is wrong at once
        assert sorted(taken.get("choices", said.get("choices", []))) == sorted(said.get("choices", [])), option


@pytest.mark.parametrize("name", CALLS)
def test_the_library_says_what_a_module_does_on_its_host(name: str) -> None:
    assert (ROOT / f"plugins/module_utils/_call_{name}.py").is_file()


def test_what_arguments_allow_is_what_the_library_knows() -> None:
    assert preflight.ARGUMENTS["verb"]["choices"] == sorted(GATES)
    assert preflight.ARGUMENTS["controller_timeout"]["default"] == CONTROLLER_TIMEOUT
    assert probe.ARGUMENTS["probes"]["choices"] == list(KINDS)
    assert bundle.ARGUMENTS["part_size"]["default"] == PART
    assert bundle.ARGUMENTS["level"]["default"] == LEVEL
    assert fleet_gate.ARGUMENTS["unreachable"]["choices"] == [STOP, SKIP]
    assert rehearse.ARGUMENTS["policy"]["choices"] == [REQUIRED, STAGING, WAIVED]
    assert rehearse.ARGUMENTS["limit"]["default"] == RESTORED_UP_TO
    assert set(rollback.ARGUMENTS["schema"]["choices"]) == {AUTO, BACK, KEEP}
