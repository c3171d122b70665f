"""Real runs of ansible-playbook: a site's archive is written, and its reports are, where no host can be reached."""

from __future__ import annotations

import base64
import json
import random
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.action import write_report
from ansible_collections.slipway.release.plugins.module_utils._support_archive import Support, read_archive
from ansible_collections.slipway.release.plugins.plugin_utils._report_page import Report, render

from tests.typed import typed
from tests.unit.plugins.action import unreachable
from tests.unit.plugins.action.test_write_report import ROLE, assessed

HOSTILE = "<script>alert(1)</script>{{ 1 / 0 }}"
REPORT = yaml.safe_dump([{"ansible.builtin.import_playbook": "slipway.release.report"}])
HOST: dict[str, Any] = {
    "containers.json": [
        {
            "name": "swarm-web-1",
            "state": HOSTILE,
            "health": None,
            "restarts": 3,
            "started": "2026-11-24T18:00:00Z",
            "image": "sha256:" + "a" * 64,
        }
    ],
    "versions.json": {"docker": "27.5.1"},
    "disk.json": [{"what": "images", "path": "/var/lib/docker", "total": 5e10, "free": 2e9}],
    "logs.json": {
        "services": {
            "web": {"signatures": [{"level": "error", "text": "no agent #", "count": 3, "error": True, "last": "x"}]}
        }
    },
}


def archive(data: dict[str, Any], **changes: object) -> bytes:
    files = {"report/1.1.0.json": data, **HOST, **changes}
    content = {name: json.dumps(item).encode() for name, item in files.items()}
    return Support("swarm", "customer/a", "2026-11-24T19:00:00Z", content, {"status.json": "no answer"}).packed()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return assessed(tmp_path_factory.mktemp("state"))


def test_an_archive_is_written_for_its_owner_alone_and_a_bad_one_is_not(tmp_path: Path, data: dict[str, Any]) -> None:
    content, place = archive(data), tmp_path / "new" / "support"
    sent = {"good": content, "bad": content[:-30], "none": b""}
    tasks = [
        {
            "slipway.release.write_support": {
                "archive": base64.b64encode(item).decode() or "-",
                "directory": str(place),
            },
            "ignore_errors": True,
        }
        for item in sent.values()
    ]
    done = unreachable.play(tmp_path, yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    said = " ".join(done.stdout.split())
    assert "changed=1" in said
    assert "ignored=2" in said
    assert "what came from the host: it is no gzip file, or is damaged" in said
    assert "what came from the host is no archive in base64" in said
    path = place / "customer_a-20261124T190000Z.support.tar.gz"
    assert list(place.iterdir()) == [path]
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(place.stat().st_mode)) == (0o600, 0o700)
    assert path.read_bytes() == content
    assert read_archive(path).site == "customer/a"


@pytest.mark.promise("W1", "X3")
def test_the_reports_of_a_site_are_written_far_from_it(tmp_path: Path, data: dict[str, Any]) -> None:
    reports, name = tmp_path / "reports", "customer-a-20261124T190000Z.support.tar.gz"
    (tmp_path / name).write_bytes(archive(data))
    page, own = {name: f"{tmp_path}/{name}"}, {"SLIPWAY_RECORD_DIR": str(tmp_path / "records")}
    begins = "ansible-playbook playbooks/report.yml"
    typed("docs/support.md", begins, f"-e report_directory={reports}", given=page, environment=own)
    assert sorted(item.name for item in reports.iterdir()) == ["customer_a-1.1.0.html", "customer_a-1.1.0.json"]
    text = (reports / "customer_a-1.1.0.html").read_text()
    assert "and has proven itself." in text
    for shown in ("swarm-web-1", "27.5.1", "/var/lib/docker", "2.0 GB", "no agent #", "status.json"):
        assert shown in text, shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 1 / 0 }}" in text
    assert "<script" not in text


def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path, data: dict[str, Any]) -> None:
    history = {**data["history"], "runs": 7}
    path = tmp_path / "site.support.tar.gz"
    path.write_bytes(archive({**data, "history": history}))
    done = unreachable.play(tmp_path, REPORT, "-e", f"report_support={path}", "-e", f"report_directory={tmp_path}/r")
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert "the report of customer/a cannot be written: its data is not what this version of Slipway writes" in said
    assert "Traceback" not in said
    assert not (tmp_path / "r").exists()


def places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The path of each value that is in plain data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, held in items for path in places(held, (*at, key)))]


def test_whatever_is_wrong_with_a_report_is_known_as_that(data: dict[str, Any]) -> None:
    template, chance = ROLE.read_text(), random.Random(7)
    every = [path for path in places(data) if len(path) > 1]
    wrong = 0
    for path in chance.sample(every, 60):
        spoilt = json.loads(json.dumps(data))
        inside = spoilt
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = chance.choice([None, "x", -1, [], {}, [None], {"x": 1}, 1e308])
        try:
            render(template, Report("a", **spoilt))
        except write_report._MALFORMED:
            wrong += 1
    assert wrong > 5
