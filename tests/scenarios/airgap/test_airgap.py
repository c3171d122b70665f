"""At a site that nothing leaves, all is done with what a bundle brings: a controller, a deploy, the way back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from lab import airgap
from lab.host import Host
from lab.swarm import OWNER
from lab.witness import Witness
from tests.scenarios.airgap import closure
from tests.scenarios.airgap.conftest import BASTION, HOME, MEDIUM, SIGNERS, SITE, WORKSHOP, copied, on
from tests.scenarios.conftest import ROOT, Run
from tests.typed import commands, typed

Look = Callable[[], Witness]
Play = Callable[..., Run]

INVENTORY = "molecule/airgap/inventory"
CONTROLLER = f"{HOME}/slipway"
STATE = "/var/lib/slipway/swarm"
INCOMING, FROM_BASTION = "/var/lib/slipway/incoming", "/var/lib/slipway/from-bastion"
LOAD, LOAD_COPY, *_ = commands()["docs/load.md"]
BEFORE = LOAD.partition(" playbooks/load.yml ")[2]  # what stands for it there: ...
# nobody agreed on a window with a host that lasts some minutes
WINDOW = {"release_gates": {"window": {"waived": "a throwaway host has no customers", "by": "the lab"}}}


def make_controller(version: str, place: Host = SITE) -> str:
    """The one command."""
    given = {"1.1.0": version, "allowed_signers": SIGNERS, "/opt/slipway": CONTROLLER}
    return typed("README.md", "tar -xOf", given=given, through=on(place, MEDIUM))


def settle_in(place: Host, **connection: object) -> None:
    """Tell the controller of a place what is the site's own: who it is, how it is reached, and its secrets."""
    own = {**connection, "site_host_name": "swarm.example.test", "ansible_become": True}
    hosts = yaml.safe_dump({"sites": {"hosts": {"lab-a": own}}})
    secrets = SITE.secrets_file.read_text()
    for name, content in (("hosts.yml", hosts), ("group_vars/sites/vault.yml", secrets)):
        place.sh(f"umask 077; cat >{CONTROLLER}/inventory/airgap/{name}", user=OWNER, stdin=content.encode())


def run(page: str, begins: str, version: str, place: Host = SITE, *, fails: bool = False) -> str:
    """What a playbook prints that is typed inside, by the controller that was made there."""
    monitor = {"monitor_looks": 2, "monitor_interval": 1, "site_watch_hours": 1, "site_watch_every": 10}
    given = {
        "...": BEFORE,
        "1.1.0": version,
        "/media/usb": MEDIUM,
        INCOMING: FROM_BASTION,
        "-i prod": "-i airgap",
        "customer-a": "lab-a",
    }
    more, through = {**WINDOW, **monitor, "release_version": version}, on(place, CONTROLLER, f"{CONTROLLER}/.venv/bin")
    return typed(page, begins, '-e "$(cat)"', given=given, fails=fails, through=through, keys=json.dumps(more))


# a browser that has only this host: what it is told to get, and where from
CURL = """
curl() { command curl --silent --show-error --fail --cookie /tmp/jar --cookie-jar /tmp/jar \\
  --resolve swarm.example.test:80:127.0.0.1 "$@"; }
at=http://swarm.example.test
"""
LOGIN = (
    CURL
    + """
rm -f /tmp/jar
token=$(curl $at/login | sed -n 's/.*name="authenticity_token" value="\\([^"]*\\)".*/\\1/p' | head -1)
password=$(sed -n s/^OPERATOR_PASSWORD=//p /opt/swarm/.env)
curl --output /dev/null --data-urlencode "authenticity_token=$token" --data-urlencode "session[password]=$password" \\
  --data-urlencode "session[email]=operator@example.test" $at/login
"""
)
FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source|form|video|audio|object|embed)\b[^>]*?
  \b(?:src|href|action|data|poster|srcset)=["']([^"']*)""",
    re.VERBOSE,
)
ASKED = re.compile(r"""(?:url\(\s*["']?|(?:@import|\bimport|\bimportScripts|\bfrom)\s*\(?\s*["'])(?:https?:)?//""")


@pytest.mark.usefixtures("bundles")
@pytest.mark.promise("X4")
def test_two_commands_of_any_host_verify_the_bundle() -> None:
    for version in ("1.1.0", "1.2.0"):
        given = {"1.1.0": version, "allowed_signers": SIGNERS}
        told = typed("docs/bundle.md", "ssh-keygen", block=True, given=given, through=on(SITE, MEDIUM))
        assert told.startswith('Good "slipway-bundle" signature')
        assert f"swarm-{version}.001: OK" in told


@pytest.mark.promise("X1", "U4")
def test_a_controller_is_made_of_the_bundle_alone() -> None:
    said = make_controller("1.1.0")
    assert "swarm 1.1.0, signed and whole" in said
    version = SITE.sh(f"{CONTROLLER}/.venv/bin/ansible-playbook --version", user=OWNER)
    locked = re.search(r"^ansible-core==(\S+)", (ROOT / "requirements-run.lock").read_text(), re.MULTILINE)
    assert locked
    assert f"[core {locked[1]}]" in version
    assert SITE.sh(f"ls {CONTROLLER}/evidence/1.1.0").split() == ["attestation.json", "review.json"]
    settle_in(SITE, ansible_connection="local")


@pytest.mark.promise("D1", "U4", "X2")
def test_the_release_comes_in_from_the_bundle(look: Look) -> None:
    assert look().release == "1.0.0"
    loaded = run("docs/bundle.md", ".venv/bin/ansible-playbook playbooks/load.yml", "1.1.0")
    assert "1.1.0 is here (1 images loaded)" in loaded, loaded
    run("docs/bundle.md", ".venv/bin/ansible-playbook deploy.yml", "1.1.0")
    seen = look()
    assert seen.release == "1.1.0"
    assert seen.leftovers == []
    brought = json.loads(SITE.sh(f"cat {STATE}/releases/1.1.0/bundle.json"))["images"]
    assert {item.service: item.image for item in seen.containers if item.running} == brought
    # and the host watches it by itself
    SITE.sh(f"for i in $(seq 600); do [ -s {STATE}/watch/looks.jsonl ] && exit 0; sleep 0.1; done; exit 1")


@pytest.mark.promise("R2", "R6", "U4", "X1", "X2")
def test_a_bad_release_that_comes_as_a_difference_from_a_bastion_is_taken_back(look: Look, bastion: Host) -> None:
    before = look()
    sizes = [int(bastion.sh(f"cat {MEDIUM}/swarm-{version}.0* | wc -c")) for version in ("1.1.0", "1.2.0")]
    assert sizes[1] < sizes[0] / 20
    make_controller("1.1.0", bastion)
    settle_in(bastion, ansible_host=airgap.address(SITE), ansible_user=OWNER)
    own = f"cd {CONTROLLER} && cat inventory/airgap/hosts.yml && stat -c %i .venv/pyvenv.cfg"
    there = bastion.sh(own)
    assert "swarm 1.2.0, signed and whole" in make_controller("1.2.0", bastion)
    assert bastion.sh(own) == there
    loaded = run("docs/load.md", LOAD_COPY, "1.2.0", bastion)
    assert "1.2.0 is here (1 images loaded)" in loaded, loaded
    done = run("docs/load.md", "ansible-playbook deploy.yml", "1.2.0", bastion, fails=True)
    assert "TAKEN BACK, 1.1.0 runs" in done, done
    assert "POST /campaigns: 500" in done
    after = look()
    assert (after.release, after.schema, after.leftovers) == ("1.1.0", before.schema, [])


@pytest.mark.promise("R6", "X2")
def test_an_operator_goes_back_without_any_bundle(look: Look) -> None:
    run("docs/rollback.md", "ansible-playbook rollback.yml -i prod -l customer-a", "1.1.0")
    seen = look()
    assert (seen.release, seen.leftovers) == ("1.0.0", [])


def test_the_site_s_records_are_handed_back() -> None:
    run("docs/support.md", "ansible-playbook playbooks/support.yml", "1.1.0")
    assert SITE.sh(f"ls {CONTROLLER}/build/support").startswith("lab-a-")


@pytest.mark.promise("X2")
def test_nothing_tried_to_leave_and_what_tries_is_counted() -> None:
    # at the bridge, and on each host by what it sends itself
    assert [airgap.tried(place) for place in (None, SITE, BASTION)] == [airgap.Tried(0, 0, ())] * 3
    SITE.sh("! getent hosts registry.example.test; ! timeout 5 bash -c '</dev/tcp/192.0.2.1/443' 2>/dev/null")
    web = "$(docker ps --quiet --filter label=com.docker.compose.service=web | head -1)"
    SITE.sh(f"! timeout 20 docker exec {web} getent hosts app.example.test")
    control = airgap.tried()
    assert "192.0.2.1 tcp 443" in control.seen
    assert f"{airgap.RESOLVER} udp 53" in control.seen
    assert control.questions >= 2
    assert control.packets > control.questions
    there = airgap.tried(SITE)
    assert there.seen == control.seen
    assert there.questions >= 2
    assert there.packets > there.questions


@pytest.mark.promise("X1", "X2")
def test_of_a_project_with_overrides_profiles_and_monitoring_nothing_is_missing(play: Play, bastion: Host) -> None:
    before = [airgap.tried(place) for place in (None, bastion)]
    assert not bastion.sh("docker image ls --quiet")
    directory = closure.write(WORKSHOP, HOME, f"{HOME}/allowed_signers")
    copied(WORKSHOP, directory, bastion, MEDIUM)
    given = {**closure.GIVEN, "load_path": f"{MEDIUM}/atlas-2.0.0.sums", "load_signers": SIGNERS}
    loaded = play("playbooks/load.yml", "--limit", bastion.name, "-e", json.dumps(given), inventory=INVENTORY)
    assert loaded.returncode == 0, loaded.output
    closure.install(bastion)
    closure.name_images(bastion)
    wanted = set(closure.compose(bastion, "config --images").split())
    assert wanted == {"atlas:2.0.0", "atlas-store:8.1", "atlas-metrics:3.4"}
    # these and no other: not what an override replaced, not what a profile would need that is not in use
    there = bastion.sh("docker image ls --format '{{.Repository}}:{{.Tag}}'").split()
    assert {name for name in there if not name.startswith("slipway/")} == wanted
    closure.compose(bastion, "up --detach --wait --wait-timeout 60 --no-build --pull never")
    assert sorted(closure.compose(bastion, "ps --services").split()) == ["metrics", "store", "web", "worker"]
    assert [airgap.tried(place) for place in (None, bastion)] == before


@pytest.mark.promise("X2", "W1")
def test_what_the_site_hands_back_is_read_where_help_is(play: Play, tmp_path: Path) -> None:
    command = "playbooks/support.yml -i airgap -l lab-a"
    SITE.sh(f"cd {CONTROLLER} && .venv/bin/ansible-playbook {command}", user=OWNER)
    copied(SITE, f"{CONTROLLER}/build/support", tmp_path)
    archive, pages = max(tmp_path.glob("lab-a-*.support.tar.gz")), tmp_path / "pages"
    given = {"report_support": str(archive), "report_directory": str(pages)}
    done = play("playbooks/report.yml", "--limit", "localhost", "-e", json.dumps(given), inventory="localhost,")
    assert done.returncode == 0, done.output
    found = {path.name: path.read_text() for path in pages.rglob("*.html")}
    for version, words in (("1.1.0", "1.1.0"), ("1.2.0", "taken back")):
        (page,) = [text for name, text in found.items() if version in name]
        assert words in page
        assert "swarm-postgres-1" in page
    with tarfile.open(archive) as files:
        told = b"".join(content.read() for item in files if (content := files.extractfile(item)))
    assert b'"version": "1.2.0"' in told
    secrets = yaml.safe_load(SITE.secrets_file.read_text()).values()
    assert secrets
    for text in (told.decode(), *found.values(), done.output):
        assert not [secret for secret in secrets if secret in text or b64encode(secret.encode()).decode() in text]


def kill_tree(process: int) -> None:
    """Kill a process and those that it started; Ansible's workers have sessions of their own."""
    os.kill(process, signal.SIGSTOP)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == process:
                kill_tree(int(status.parent.name))
    os.kill(process, signal.SIGKILL)


@pytest.mark.promise("X3")
def test_pages_load_without_any_other_host() -> None:
    SITE.sh(LOGIN)
    assets = set()
    campaigns = SITE.sh(f"{CURL}curl $at/campaigns")
    (campaign,) = re.findall(r'href="(/campaigns/\d+)"', campaigns)[:1]
    for path in ("/agents", "/campaigns", campaign, "/campaigns/new", "/system_health", "/404.html", "/500.html"):
        page = SITE.sh(f"{CURL}curl $at{path}")
        assert "Log out" in page or path.endswith(".html"), path
        places = [place for place in FETCHED.findall(page) if place and not place.startswith("data:")]
        assert [place for place in places if not re.match(r"/(?!/)|http://swarm\.example\.test/", place)] == []
        assert not ASKED.search(page)
        assets |= {place for place in places if re.search(r"\.(js|css)\b", place)}
    assert len(assets) >= 4
    assert all(
        map(ASKED.search, ('@import "//a.example/b.css"', "url(https://a.example/b)", 'import("//a.example/b.js")'))
    )
    for place in sorted(assets):
        assert not ASKED.search(SITE.sh(f"{CURL}curl $at{place}")), place


def test_a_copy_that_was_cut_goes_on_where_it_stopped(play: Play, types: Play, bundles: Path) -> None:
    sums, given = bundles / "swarm-1.1.0.sums", ("playbooks/load.yml", "-e", f"load_signers={SIGNERS}")
    copy = (*given, "-e", f"load_from={sums}", "-e", f"load_path={INCOMING}/{sums.name}")
    command = ["ansible-playbook", *copy, "-i", INVENTORY, "--limit", SITE.name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as cut:
        assert cut.stdout
        first = next(line for line in cut.stdout if "%" in line)
        kill_tree(cut.pid)
    assert "swarm-1.1.0.001" in first
    assert " 64 of 100 MB" in first
    assert not SITE.sh(f"ls {INCOMING}").count(".sums")
    (partial,) = SITE.sh(f"stat -c '%s %n' {INCOMING}/*.partial").splitlines()
    assert int(partial.split()[0]) == 64_000_000

    done = play(*copy, inventory=INVENTORY)
    assert done.returncode == 0, done.output
    assert re.findall(r"swarm-1\.1\.0\.001 .*?: (.*)", done.output)[0] == "100 %, 100 of 100 MB"
    told = " ".join(done.output.split())
    assert "1.1.0 is here (0 images loaded)" in told
    assert f"ansible-playbook deploy.yml -i {INVENTORY} -e release_version=1.1.0" in told
    SITE.sh(f"cd {INCOMING} && sha256sum --quiet -c {sums.name} && ! ls *.partial 2>/dev/null")
    # and may be loaded again from where it lies
    page = {"/media/usb": INCOMING, "-i inventory/airgap": f"-i {INVENTORY} -l {SITE.name}"}
    assert "(0 images loaded)" in " ".join(types("docs/load.md", LOAD, given=page).output.split())
