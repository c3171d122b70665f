"""What a site hands back tells what helps, and nothing that is secret: each secret has a canary here."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._call_support import answer
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._support_archive import Support, unpacked

from .application import PROFILE
from .host import Host, container
from .ledger_story import Story, months

CANARIES = {
    "env file": "canary-env-file-value",
    "env file, required": "pw-7",
    "env file before": "canary_env_before",
    "vault": "canary vault/value+1",
    "login": "canary-login-form",
    "webhook": "https://hooks.example.test/canary-webhook",
    "container": "canary-container-env",
    "address": "canaryurlpass",
    "mail": "canary.person@example.test",
    "bearer": "canaryBearerToken12",
    "log line": "canary-log-datum",
    "row": "Canary Rowvalue",
    "raw log": "canary-raw-migrate-log",
    "baseline": "canary-baseline",
    "backup": "canary-dump",
    "profile": "canary-mail-password",
}
STAMP = "2026-11-26T20:00:00.000000000Z"
LOG = (
    f"{STAMP} E, [2026-11-26T20:00:00.1 #1] ERROR -- : RuntimeError: no agent 4711 for '{CANARIES['log line']}' "
    f"of {CANARIES['mail']} with password={CANARIES['bearer']} and {CANARIES['vault']}\n"
)


class Talking(Host):
    """Its containers printed something, and Docker answers."""

    def run(self, argv: Sequence[str], **given: Any) -> Any:  # noqa: ANN401 as the host's
        told = {"version": "27.5.1\n", "info": "/\n"}
        if self.refusal is None and argv[0] == "docker" and argv[1] in told:
            return subprocess.CompletedProcess(argv, 0, told[argv[1]], "")
        return super().run(argv, **given)

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        del argv, errors
        return subprocess.Popen(["printf", "%s", LOG * 3], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.fixture
def told(tmp_path: Path) -> Story:
    story = months(tmp_path / "state")
    ledger, release = story.ledger, story.ledger.release_directory("1.2.0")
    (release / "env.before").write_text(f"SOMETHING={CANARIES['env file before']}\n")
    (release / "migrate.log").write_text(CANARIES["raw log"])
    (release / "baseline.json").write_text(json.dumps({"data": CANARIES["baseline"]}))
    (next(story.site.backups.iterdir()) / "dump").write_text(CANARIES["backup"])
    every = " ".join(item for name, item in CANARIES.items() if name not in {"raw log", "baseline", "backup", "row"})
    hostile = {
        "reason": f"ERROR: DETAIL: Key (name)=({CANARIES['row']}) already exists; Bearer {CANARIES['bearer']}",
        "said": every.replace(CANARIES["log line"], "").replace(CANARIES["bearer"], ""),
        "detail": f"3 times, new: no agent for '{CANARIES['log line']}'",
        "password": CANARIES["raw log"],
    }
    story.step("1.2.0", "migrate", "run db:migrate", 1, **hostile)
    run = next((ledger.root / "runs").glob("*.json"))
    run.write_text(json.dumps({**json.loads(run.read_text()), "failure": hostile}))
    story.alert("1.2.0", "breach", hostile["detail"], hostile["reason"])
    with (ledger.root / "watch" / "looks.jsonl").open("a") as stream:
        stream.write(json.dumps({"at": story.at(), **hostile}) + "\n")
    return story


@pytest.fixture
def site(told: Story, tmp_path: Path) -> Site:
    directory = tmp_path / "application"
    directory.mkdir()
    (directory / ".env").write_text(
        f"ANY={CANARIES['env file']}\nPOSTGRES_PASSWORD={CANARIES['env file, required']}\nAPP_VERSION=1.1.0\n"
    )
    host = Talking()
    environment = [f"API_TOKEN={CANARIES['container']}", f"URL=redis://u:{CANARIES['address']}@redis"]
    host.containers[1] = container("web", 1, env=environment)
    made = Site(Profile.parse(application(tmp_path)), {"VAULT": CANARIES["vault"]}, host)
    assert made.ledger.root == told.ledger.root
    return made


def application(tmp_path: Path) -> dict[str, Any]:
    mail = {"server": "mail", "from": "a@b", "to": ["ops@example.test"], "user": "u", "password": CANARIES["profile"]}
    return {
        **PROFILE,
        "directory": str(tmp_path / "application"),
        "state_directory": str(tmp_path / "state"),
        "login": {"path": "/login", "form": {"session[code]": CANARIES["login"]}},
        "watch": {"alert": {"webhook": CANARIES["webhook"], "mail": mail}},
    }


def collected(site: Site, tmp_path: Path) -> tuple[dict[str, Any], Support]:
    given = {"application": application(tmp_path), "site": "customer-a", "keep": 5, "keep_days": 30.0}
    result = answer(Module(given, secrets={CANARIES["vault"]}), site)
    return result, unpacked(io.BytesIO(base64.b64decode(result["archive"])), "archive")


def test_no_canary_gets_out(site: Site, tmp_path: Path) -> None:
    result, support = collected(site, tmp_path)
    everything = b"".join([support.manifest(), *support.files.values()]).decode() + json.dumps(result["left_out"])
    for name, canary in CANARIES.items():
        assert canary not in everything, name
        assert json.dumps(canary)[1:-1] not in everything, name
    # the records that they stood in are there
    assert {"journal.jsonl", "watch/alerts.jsonl", "watch/looks.jsonl", "logs.json"} <= set(support.files)
    assert b"Key (name)=(********) already exists" in support.files["journal.jsonl"]
    assert "canary" not in everything.lower()
    assert support.left_out == {}


def test_what_helps_is_there(site: Site, tmp_path: Path) -> None:
    _, support = collected(site, tmp_path)
    read = {name: json.loads(text) for name, text in support.files.items() if name.endswith(".json")}
    assert (support.application, support.site) == ("swarm", "customer-a")
    assert read["ledger.json"]["current"] == "1.1.0"
    assert read["releases/1.2.0/certificate.json"]["proven"] is True
    assert {name for name in support.files if name.startswith("report/")} == {"report/1.1.0.json", "report/1.2.0.json"}
    assert read["report/1.2.0.json"]["history"]["gone"].startswith("taken back: R2 Critical functionality broken")
    assert len([name for name in support.files if name.startswith("runs/")]) == 2
    web = next(item for item in read["containers.json"] if item["name"] == "swarm-web-1")
    assert (web["state"], web["health"], web["restarts"]) == ("running", "healthy", 0)
    assert not any("environment" in item or "command" in item for item in read["containers.json"])
    assert read["versions.json"]["docker"] == "27.5.1"
    assert {item["what"] for item in read["disk.json"]} == {"application", "ledger", "backups", "images"}
    said = read["logs.json"]["services"]["web"]["signatures"]
    # two containers, three lines each
    assert [(item["count"], item["error"]) for item in said] == [(6, True)]
    assert said[0]["text"].startswith('RuntimeError: no agent # for "#" of ********')


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}'])
def test_a_damaged_ledger_is_no_reason_to_hand_nothing_back(site: Site, tmp_path: Path, content: str) -> None:
    (site.ledger.root / "ledger.json").write_text(content)
    _, support = collected(site, tmp_path)
    assert {"containers.json", "journal.jsonl", "disk.json"} <= set(support.files)
    assert "report" in support.left_out


def test_without_docker_the_records_are_handed_back(site: Site, tmp_path: Path) -> None:
    assert isinstance(site.runner, Talking)
    site.runner.refusal = SlipwayError("docker is not on this host: install it, or mend PATH")
    _, support = collected(site, tmp_path)
    assert "containers.json" not in support.files
    assert support.left_out["containers.json"].endswith("docker is not on this host: install it, or mend PATH")
    assert {"ledger.json", "journal.jsonl", "report/1.1.0.json"} <= set(support.files)


def test_of_what_is_too_much_the_newest_is_kept(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.slipway.release.plugins.module_utils._support._LARGEST_FILE", 5000)
    _, support = collected(site, tmp_path)
    assert len(support.files["watch/looks.jsonl"]) <= 5000
    newest = support.files["watch/looks.jsonl"].splitlines()[-1]
    assert b"already exists" in newest
    assert support.left_out["watch/looks.jsonl"].startswith("its oldest 14")
    assert "which is too much" in support.left_out["report/1.1.0.json"]
