"""What playbooks/awx.yml declares, as the modules of awx.awx are given it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.slipway.release.plugins.lookup.role_arguments import role_arguments

from lab._common import ROOT
from tests.typed import sections, typed
from tests.unit.playing import ansible_playbook

HERE = Path(__file__).parent
SPECS = HERE / "awx_argument_specs.json"
WAVES = [{"name": "canary", "limit": "customer-a"}, {"name": "all others", "limit": "sites:!customer-a"}]
GIVEN = {"awx_project_url": "https://git.example.test/slipway.git", "awx_image": "registry.example.test/slipway:1"}
DECLARED: dict[str, Any] = {"awx_waves": WAVES, "awx_credentials": ["prod ssh", "prod secrets"]}

pytestmark = pytest.mark.promise("U3")


class Given(NamedTuple):
    """What a module was given, and whether it had been given otherwise before."""

    module: str
    arguments: Any
    changed: bool


def recorder(collection: Path) -> None:
    """Write a collection awx.awx that writes down what it is given, and knows what it was given before."""
    actions = collection / "plugins/action"
    actions.mkdir(parents=True, exist_ok=True)
    for name in json.loads(SPECS.read_text())["modules"]:
        shutil.copy(HERE / "awx_recorder.py", actions / f"{name}.py")


def declare(
    directory: Path, specs: Path = SPECS, **variables: object
) -> tuple[subprocess.CompletedProcess[str], list[Given]]:
    """Play it against the recorder."""
    recorder(directory / "ansible_collections/awx/awx")
    recorded = directory / "recorded"
    recorded.touch()
    before = len(recorded.read_text().splitlines())
    extra = json.dumps({**GIVEN, **variables})
    done = ansible_playbook(
        directory / "records",
        *("-i", "localhost,", "playbooks/awx.yml", "-e", extra),
        timeout=300,
        environment={
            "ANSIBLE_COLLECTIONS_PATH": f"{directory}:{ROOT / 'collections'}",
            "AWX_ARGUMENT_SPECS": str(specs),
            "AWX_RECORDED": str(recorded),
        },
    )
    return done, [Given(*json.loads(line)) for line in recorded.read_text().splitlines()[before:]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an AWX is played, and what it was given is kept."""
    return tmp_path_factory.mktemp("awx")


@pytest.fixture(scope="module")
def declared(place: Path) -> list[Given]:
    done, found = declare(place, **DECLARED)
    assert done.returncode == 0, done.stdout
    return found


@pytest.fixture
def galaxy(tmp_path: Path) -> Iterator[str]:
    """A Galaxy that has one collection, the recorder, in one version."""
    recorder(tmp_path / "awx")
    about = {"namespace": "awx", "name": "awx", "version": "24.6.1", "readme": "README.md", "authors": ["a test"]}
    (tmp_path / "awx/galaxy.yml").write_text(yaml.safe_dump(about))
    (tmp_path / "awx/README.md").touch()
    (tmp_path / "awx/meta").mkdir()
    (tmp_path / "awx/meta/runtime.yml").write_text("requires_ansible: '>=2.19'\n")
    build = [sys.executable, "-m", "ansible", "galaxy", "collection", "build", "--output-path", str(tmp_path)]
    subprocess.run([*build, str(tmp_path / "awx")], check=True, capture_output=True)
    content = (tmp_path / "awx-awx-24.6.1.tar.gz").read_bytes()
    place = "/api/v3/collections/awx/awx/"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = f"http://{self.headers['Host']}"
            version = {"version": "24.6.1", "href": f"{place}versions/24.6.1/", "signatures": []}
            known: dict[str, object] = {
                "/api/": {"available_versions": {"v3": "v3/"}},
                place: {"created_at": "2026-11-30", "updated_at": "2026-11-30"},
                f"{place}versions/": {"meta": {"count": 1}, "links": {"next": None}, "data": [version]},
                f"{place}versions/24.6.1/": {
                    **version,
                    "namespace": {"name": "awx"},
                    "collection": {"name": "awx"},
                    "download_url": f"{at}/file",
                    "artifact": {"sha256": hashlib.sha256(content).hexdigest()},
                    "metadata": {"dependencies": {}},
                },
            }
            path = self.path.partition("?")[0]
            self.send_response(200 if path in known or path == "/file" else 404)
            self.end_headers()
            self.wfile.write(content if path == "/file" else json.dumps(known.get(path)).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/"
        server.shutdown()


def test_the_page_s_commands_install_what_is_needed_and_declare_all(tmp_path: Path, galaxy: str) -> None:
    (tmp_path / "awx.yml").write_text(sections("docs/awx.md")[0].blocks[0][1])
    (tmp_path / "recorded").touch()
    own = {
        "ANSIBLE_GALAXY_SERVER": galaxy,
        "ANSIBLE_GALAXY_CACHE_DIR": str(tmp_path / "cache"),
        "ANSIBLE_COLLECTIONS_PATH": f"{tmp_path}/installed:{ROOT / 'collections'}",
        "AWX_ARGUMENT_SPECS": str(SPECS),
        "AWX_RECORDED": str(tmp_path / "recorded"),
        "SLIPWAY_RECORD_DIR": str(tmp_path / "records"),
    }
    typed("docs/awx.md", "export", block=True, given={"@awx.yml": f"@{tmp_path}/awx.yml"}, environment=own)
    found = [Given(*json.loads(line)) for line in (tmp_path / "recorded").read_text().splitlines()]
    assert only(found, "project")["scm_url"] == "https://git.example.com/slipway.git"
    assert only(found, "workflow_job_template")["workflow_nodes"]


def of(declared: list[Given], module: str) -> Iterator[Any]:
    return (item.arguments for item in declared if item.module == module)


def only(declared: list[Given], module: str) -> Any:  # noqa: ANN401 - JSON
    (found,) = of(declared, module)
    return found


def test_every_task_takes_what_awx_awx_takes_and_all_of_it_is_declared(declared: list[Given]) -> None:
    assert {item.module for item in declared} == set(json.loads(SPECS.read_text())["modules"])
    playbooks = {arguments["playbook"] for arguments in of(declared, "job_template")}
    here = {f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml")}
    # those work with files of the controller, or declare all of this
    assert here - playbooks == {f"playbooks/{verb}.yml" for verb in ("awx", "bundle", "load", "support")}


def test_what_is_declared_again_changes_nothing_and_another_survey_its_template_alone(
    place: Path, declared: list[Given]
) -> None:
    assert all(item.changed for item in declared)
    again, found = declare(place, **DECLARED)
    assert [item for item in found if item.changed] == []
    assert len(found) == len(declared)
    assert re.search(r"localhost +: ok=\d+ +changed=0 ", again.stdout), again.stdout
    templates = yaml.safe_load((ROOT / "roles/awx/vars/main.yml").read_text())["__awx_templates"]
    (rollback,) = (item for item in templates if item["verb"] == "rollback")
    rollback["asks"].remove("rollback_timeout")
    _, found = declare(place, **DECLARED, __awx_templates=templates)
    changed = [(item.module, item.arguments["name"]) for item in found if item.changed]
    assert changed == [("job_template", "slipway rollback")]


def test_what_awx_awx_does_not_take_is_refused(tmp_path: Path) -> None:
    recorded = json.loads(SPECS.read_text())
    del recorded["modules"]["organization"]["name"]
    specs = tmp_path / "specs.json"
    specs.write_text(json.dumps(recorded))
    done, found = declare(tmp_path, specs)
    assert done.returncode != 0
    assert "awx.awx.organization: name. Supported parameters include" in done.stdout
    assert found == []


def test_a_deploy_is_never_sliced(declared: list[Given]) -> None:
    templates = list(of(declared, "job_template"))
    assert {item["job_slice_count"] for item in templates} == {1}
    may = {item["playbook"] for item in templates if item["ask_job_slice_count_on_launch"]}
    assert may == {f"playbooks/{verb}.yml" for verb in ("monitor", "scan", "smoke_test", "status")}


def test_a_survey_asks_for_what_the_played_roles_take(declared: list[Given]) -> None:
    options, asked = role_arguments(), 0
    for template in of(declared, "job_template"):
        assert template["survey_enabled"] == ("survey_spec" in template)
        playbook = (ROOT / template["playbook"]).read_text()
        for question in template.get("survey_spec", {"spec": []})["spec"]:
            asked += 1
            name = question["variable"]
            option = options[name]
            # an argument's name begins with its role's
            assert any(name.startswith(f"{role}_") for role in re.findall(r"slipway\.release\.(\w+)\n", playbook)), name
            expected = {"int": "integer", "float": "float", "str": "text", "bool": "multiplechoice"}[option["type"]]
            assert question["type"] == ("multiplechoice" if option.get("choices") else expected)
            assert question["choices"] == (["true", "false"] if option["type"] == "bool" else option.get("choices", []))
            assert question["question_description"].startswith(option["description"].split(".")[0])
            assert "default" not in question, "it would override the inventory"
    assert asked > 10


def test_a_deploy_does_not_start_without_a_version(declared: list[Given]) -> None:
    deploy = next(item for item in of(declared, "job_template") if item["playbook"] == "playbooks/deploy.yml")
    for survey in (deploy["survey_spec"], only(declared, "workflow_job_template")["survey_spec"]):
        assert [item["variable"] for item in survey["spec"] if item["required"]] == ["release_version"]


def test_secrets_reach_a_job_in_its_environment_alone(declared: list[Given]) -> None:
    secrets = yaml.safe_load((ROOT / "roles/awx/defaults/main.yml").read_text())["awx_secrets"]
    kind = only(declared, "credential_type")
    assert set(kind["injectors"]) == {"env"}
    assert [field["id"] for field in kind["inputs"]["fields"]] == secrets
    assert all(field["secret"] is True and field["type"] == "string" for field in kind["inputs"]["fields"])
    variables = only(declared, "inventory")["variables"]
    for name in secrets:
        place = f"SLIPWAY_{name.upper()}"
        assert kind["injectors"]["env"][place] == f"{{{{ {name} }}}}"
        assert variables[name] == f'{{{{ lookup("ansible.builtin.env", "{place}", default=undef()) }}}}'
    assert variables["ansible_host_key_checking"] is True
    given = [item["extra_vars"] for item in of(declared, "job_template") if item["extra_vars"]]
    assert given == [{"maintenance_state": "present"}, {"maintenance_state": "absent"}]


def test_the_workflow_goes_wave_by_wave_and_nobody_goes_back_unasked(declared: list[Given]) -> None:
    nodes = {node["identifier"]: node for node in only(declared, "workflow_job_template")["workflow_nodes"]}
    after = {
        name: {kind: [link["identifier"] for link in links] for kind, links in node["related"].items()}
        for name, node in nodes.items()
    }
    assert after == {
        "deploy 1": {"success_nodes": ["approve 2"], "failure_nodes": ["ask 1"]},
        "ask 1": {"success_nodes": ["take back 1"]},
        "take back 1": {"always_nodes": ["report"]},
        "approve 2": {"success_nodes": ["deploy 2"]},
        "deploy 2": {"success_nodes": ["report"], "failure_nodes": ["ask 2"]},
        "ask 2": {"success_nodes": ["take back 2"]},
        "take back 2": {"always_nodes": ["report"]},
        "report": {},
    }
    templates = {item["name"]: item for item in of(declared, "job_template")}
    for name, node in nodes.items():
        template = node["unified_job_template"]
        if template["type"] == "workflow_approval":
            assert name.startswith(("approve", "ask"))
        else:
            assert template["name"] in templates
            assert templates[template["name"]]["ask_limit_on_launch"]
    limits = {name: node["limit"] for name, node in nodes.items() if "limit" in node}
    assert limits == {
        f"{what} {number}": wave["limit"] for number, wave in enumerate(WAVES, 1) for what in ("deploy", "take back")
    }


def test_what_happens_by_itself_only_reads(declared: list[Given]) -> None:
    assert {item["unified_job_template"] for item in of(declared, "schedule")} == {"slipway monitor", "slipway report"}
    for item in of(declared, "schedule"):
        # AWX refuses a rule without a start and an interval
        assert re.fullmatch(r"DTSTART:\d{8}T\d{6}Z RRULE:FREQ=[A-Z]+;INTERVAL=\d+", item["rrule"])
