"""Bad input is refused before anything changes, in one line that says what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.evidence import EVIDENCE
from lab.host import Host as LabHost
from lab.witness import Witness
from tests.scenarios.conftest import INVENTORY, ROOT, SITE, Run, closed_window
from tests.scenarios.default.test_scan import written

Play = Callable[..., Run]
Look = Callable[[], Witness]
Sh = Callable[[str], str]

STATE = "/var/lib/slipway/swarm"
LEDGER = f"find {STATE} -type f | sort | xargs sha256sum"
GIT = "runuser -u deploy -- git -C /opt/swarm -c user.name=a -c user.email=a@example.test"
NEXT = ("-e", "release_version=1.2.0")

pytestmark = pytest.mark.promise("G8")


@contextmanager
def _with(sh: Sh, begin: str, end: str) -> Iterator[None]:
    sh(begin)
    try:
        yield
    finally:
        sh(end)


@contextmanager
def _another_run(sh: Sh) -> Iterator[None]:
    state = json.loads(sh(f"cat {STATE}/ledger.json"))
    state["run"] = {
        "id": "other",
        "token": 99,
        "verb": "deploy",
        "owner": "ben@elsewhere",
        "started": "now",
        "last_seen": time.time(),
    }
    with _with(
        sh,
        f"cp -p {STATE}/ledger.json /root/ledger.json; cat >{STATE}/ledger.json <<'END'\n{json.dumps(state)}\nEND",
        f"mv /root/ledger.json {STATE}/ledger.json",
    ):
        yield


def _refused(run: Run, *said: str) -> None:
    assert run.returncode != 0
    assert "Traceback" not in run.output
    for text in said:
        assert any(text in line for line in run.output.splitlines()), f"{text!r} is not in\n{run.output}"


@pytest.fixture(scope="module")
def before(look: Look, sh: Sh) -> tuple[Witness, str]:
    return look(), sh(LEDGER)


@pytest.fixture(autouse=True)
def _nothing_changes(before: tuple[Witness, str], look: Look, sh: Sh) -> Iterator[None]:
    yield
    assert (look(), sh(LEDGER)) == before


def test_an_unknown_version(play: Play) -> None:
    _refused(play("deploy.yml", "-e", "release_version=9.9.9"), "9.9.9 is neither a tag nor a branch")


def test_a_version_that_is_none(play: Play) -> None:
    _refused(play("deploy.yml", "-e", "release_version=../../etc"), "is no release version")


def test_an_argument_of_a_role_that_comes_late(play: Play) -> None:
    _refused(play("deploy.yml", *NEXT, "-e", "monitor_looks=many"), "'monitor_looks' is of type")


def test_a_missing_secret(play: Play, sh: Sh) -> None:
    with _with(sh, "sed -i.kept /^SECRET_KEY_BASE=/d /opt/swarm/.env", "mv /opt/swarm/.env.kept /opt/swarm/.env"):
        _refused(play("deploy.yml", *NEXT), "SECRET_KEY_BASE has no value in /opt/swarm/.env")


def test_a_wrong_compose_file(play: Play) -> None:
    _refused(
        play("deploy.yml", *NEXT, "-e", json.dumps({"site_compose_files": ["docker-compose.prod.yml"]})),
        "/opt/swarm/docker-compose.prod.yml does not exist",
        "application.compose_files",
    )


def test_a_compose_file_without_the_service(play: Play, tmp_path: Path) -> None:
    path = tmp_path / "profile.yml"
    path.write_text((ROOT / "examples/swarm/profile.yml").read_text().replace("worker: worker", "worker: sidekiq"))
    _refused(play("deploy.yml", *NEXT, "-e", f"@{path}"), "has no service sidekiq")


def test_a_host_without_docker(play: Play, sh: Sh) -> None:
    with _with(sh, "mv /usr/bin/docker /usr/bin/docker.away", "mv /usr/bin/docker.away /usr/bin/docker"):
        _refused(play("deploy.yml", *NEXT), "Docker is not installed on the host: install Docker Engine 25")


def test_a_full_disk(play: Play, sh: Sh, tmp_path: Path) -> None:
    path = tmp_path / "profile.yml"
    profile = (ROOT / "examples/swarm/profile.yml").read_text()
    path.write_text(profile.replace("  name: swarm\n", "  name: swarm\n  backup_directory: /mnt/small\n", 1))
    with _with(
        sh, "mkdir /mnt/small; mount -t tmpfs -o size=1m none /mnt/small", "umount /mnt/small; rmdir /mnt/small"
    ):
        _refused(play("deploy.yml", *NEXT, "-e", f"@{path}"), "/mnt/small has 1 MB free", "make room there")


def test_another_deploy_running(play: Play, sh: Sh) -> None:
    with _another_run(sh):
        _refused(
            play("deploy.yml", *NEXT), "another run has this site: deploy by ben@elsewhere", "playbooks/unlock.yml"
        )


def test_all_that_is_wrong_is_said_at_once(play: Play, sh: Sh) -> None:
    with (
        _another_run(sh),
        _with(sh, "sed -i.kept /^SECRET_KEY_BASE=/d /opt/swarm/.env", "mv /opt/swarm/.env.kept /opt/swarm/.env"),
    ):
        _refused(
            play("deploy.yml", "-e", "release_version=9.9.9"),
            "SECRET_KEY_BASE has no value",
            "9.9.9 is neither",
            "ben@elsewhere",
        )


def test_an_unreachable_host(play: Play, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text((ROOT / INVENTORY / "hosts.yml").read_text().replace(LabHost(SITE).address, "10.89.0.199"))
    (tmp_path / "group_vars").symlink_to(ROOT / "inventory/lab/group_vars")
    run = play("deploy.yml", *NEXT, "-e", f"lab_directory={ROOT}/build/lab", inventory=str(inventory))
    _refused(run, f"{SITE} cannot be reached", "check its power, network and SSH access")


def test_changes_by_hand_are_not_overwritten(play: Play, sh: Sh) -> None:
    with _with(sh, "echo '# mine' >>/opt/swarm/compose.yml", f"{GIT} checkout --quiet compose.yml"):
        _refused(play("deploy.yml", *NEXT), "tracked files were changed by hand in /opt/swarm: compose.yml")


def test_a_managed_database(play: Play, sh: Sh) -> None:
    script = f"sed -i s/@postgres:/@db.managed.example:/ /opt/swarm/compose.yml; {GIT} commit --quiet --all --message x"
    with _with(sh, script, f"{GIT} reset --quiet --hard HEAD~1"):
        _refused(play("deploy.yml", *NEXT), "db.managed.example, outside this Compose project")


def test_a_release_with_a_new_critical_vulnerability(play: Play, tmp_path: Path) -> None:
    reports = json.dumps(written(tmp_path, {"1.2.0": ["CVE-2026-0001"], "1.1.0": []}))
    said = "1 new of critical severity against 1.1.0: CVE-2026-0001: critical, openssl 3.0.1, fixed in 3.0.2"
    _refused(play("deploy.yml", *NEXT, "-e", reports), said)


def test_a_report_that_is_none(play: Play, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"SchemaVersion": 2, "Results": [')
    reports = {"security_reports": [{"path": str(path), "for": "1.2.0"}]}
    _refused(play("deploy.yml", *NEXT, "-e", json.dumps(reports)), f"{path}: is no JSON")


def test_a_profile_with_several_mistakes(play: Play, tmp_path: Path) -> None:
    profile = (ROOT / "examples/swarm/profile.yml").read_text()
    path = tmp_path / "profile.yml"
    path.write_text(
        profile.replace("directory: /opt/swarm", "directory: opt/swarm").replace("{path: /agents,", "{path: agents,")
    )
    run = play("deploy.yml", *NEXT, "-e", f"@{path}")
    _refused(run, "application.directory: must be an absolute path", "application.pages[0].path: must begin with /")


def _commit(version: str) -> str:
    return str(json.loads((EVIDENCE / SITE / version / "attestation.json").read_text())["commit"])


def _evidence(directory: Path, version: str, **files: str) -> tuple[str, str]:
    """Arguments that let a release have this evidence alone."""
    (directory / version).mkdir()
    for name, content in files.items():
        (directory / version / name.replace("_", ".")).write_text(content)
    return "-e", f"release_evidence_directory={directory}"


@pytest.mark.promise("G1", "G2", "G7")
def test_a_release_without_evidence_outside_the_window(play: Play, tmp_path: Path) -> None:
    _refused(
        play("deploy.yml", *NEXT, *_evidence(tmp_path, "1.2.0"), *closed_window()),
        f"tests: there is no evidence in {tmp_path}/1.2.0: put the CI's attestation.json",
        f"review: there is no record in {tmp_path}/1.2.0: write review.yml there",
        "or say why not: -e \"release_window_override='WHY'\"",
    )


@pytest.mark.promise("G1", "G3", "G9")
def test_evidence_for_another_commit_and_a_version_that_the_changelog_lacks(play: Play, tmp_path: Path) -> None:
    attestation = (EVIDENCE / SITE / "1.2.0" / "attestation.json").read_text()
    run = play("deploy.yml", "-e", "release_version=main", *_evidence(tmp_path, "main", attestation_json=attestation))
    _refused(
        run,
        f"tests: the evidence is for commit {_commit('1.2.0')[:12]}, and main is {_commit('1.1.0')[:12]}",
        "changelog: the changelog has no entry for main: write '## [main] - ",
        "documentation: docs/customers/main.md is not there at ",
    )


@pytest.mark.promise("G1", "G4")
def test_a_release_whose_tests_fail(play: Play, tmp_path: Path) -> None:
    junit = (
        f'<testsuite><properties><property name="commit" value="{_commit("1.2.0")}"/></properties>'
        '<testcase classname="campaigns" name="create"><failure/></testcase></testsuite>'
    )
    notes = tmp_path / "notes"
    run = play(
        "deploy.yml", *NEXT, *_evidence(tmp_path, "1.2.0", rspec_xml=junit), "-e", f"release_notes_directory={notes}"
    )
    _refused(run, f"tests: {tmp_path}/1.2.0/rspec.xml: 1 of 1 tests failed (campaigns.create): mend the release")
    # they can be read before the release is let in
    assert "Campaigns have a budget" in (notes / "swarm-1.2.0.md").read_text()
