"""Real runs of ansible-playbook against a host that cannot be reached: feedback is read, the report is written."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.module_utils import _call_assess
from ansible_collections.slipway.release.plugins.module_utils._host_module import Module

from tests.unit.plugins.action import unreachable
from tests.unit.plugins.module_utils.ledger_story import FEEDBACK, months

pytestmark = pytest.mark.promise("W1")

ROLE = Path(__file__).parents[4] / "roles/report/templates/report.html.j2"


def assessed(root: Path) -> dict[str, Any]:
    given = {"version": "1.1.0", "feedback": FEEDBACK, "owner": "anna@controller", "keep": 5, "keep_days": 30.0}
    told = _call_assess.answer(Module(given), months(root).site)
    return {name: told[name] for name in ("history", "scorecard", "assessed")}


def write(directory: Path, reports: Path, data: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    directory.mkdir(exist_ok=True)
    kept = directory / "data.json"
    kept.write_text(json.dumps(data))
    names = {name: f"{{{{ (lookup('ansible.builtin.file', '{kept}') | from_json).{name} }}}}" for name in data}
    task = {"src": str(ROLE), "directory": str(reports), "site": "{{ inventory_hostname }}", **names}
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [{"slipway.release.write_report": task}]}]
    return unreachable.play(directory, yaml.safe_dump(plays), *options)


def test_a_page_and_its_data_are_written_for_their_owner_alone_and_once(tmp_path: Path) -> None:
    data, reports = assessed(tmp_path / "state"), tmp_path / "new" / "reports"
    tried = write(tmp_path / "play", reports, data, "--check")
    assert "changed=1" in tried.stdout, tried.stdout
    assert not reports.exists()
    first, second = write(tmp_path / "play", reports, data), write(tmp_path / "play", reports, data)
    assert "changed=1" in first.stdout, first.stdout
    assert "changed=0" in second.stdout, second.stdout
    assert sorted(path.name for path in reports.iterdir()) == ["site1-1.1.0.html", "site1-1.1.0.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in reports.iterdir()} == {0o600}
    assert stat.S_IMODE(reports.stat().st_mode) == 0o700
    assert json.loads((reports / "site1-1.1.0.json").read_text()) == {"site": "site1", **data}
    assert "and has proven itself." in (reports / "site1-1.1.0.html").read_text()
    # somebody changed it
    (reports / "site1-1.1.0.html").write_text("other")
    assert "changed=1" in write(tmp_path / "play", reports, data).stdout


def test_what_a_log_holds_is_no_template_of_ansible_and_names_no_file(tmp_path: Path) -> None:
    data, reports = assessed(tmp_path / "state"), tmp_path / "reports"
    data["history"]["version"] = "../../{{ 1 / 0 }}<script>"
    done = write(tmp_path / "play", reports, data)
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in reports.iterdir()) == [
        "site1-.._.._1_0_script_.html",
        "site1-.._.._1_0_script_.json",
    ]
    text = (reports / "site1-.._.._1_0_script_.html").read_text()
    assert "{{ 1 / 0 }}&lt;script&gt;" in text


def test_what_customers_were_told_is_on_the_page(tmp_path: Path) -> None:
    data, reports, outbox = assessed(tmp_path / "state"), tmp_path / "reports", tmp_path / "outbox"
    nothing = write(tmp_path / "play", reports, {**data, "outbox": str(outbox)})
    assert nothing.returncode == 0, nothing.stdout
    page = (reports / "site1-1.1.0.html").read_text()
    assert "Nothing of this release, from this controller." in page
    assert not outbox.exists()
    place = outbox / "site1"
    place.mkdir(parents=True)
    entry = {"id": "1" * 40, "site": "site1", "application": "swarm", "release": "1.1.0", "about": "r1"}
    when = {"at": "2026-11-20T08:00:00.000Z", "changed": "2026-11-20T08:00:01.000Z", "attempts": 1}
    entries: dict[str, dict[str, Any]] = {
        "start": {"event": "start", "channel": "mail", "state": "sent", "detail": None},
        "success": {"event": "success", "channel": "webhook", "state": "failed", "detail": "<b>refused</b>"},
        "window": {"event": "window", "channel": "file", "state": "sending", "detail": None},
        "notes": {"event": "notes", "channel": "mail", "state": "sent", "detail": None, "release": "9.9.9"},
    }
    for name, told in entries.items():
        (place / f"{name}-1.1.0-x.json").write_text(json.dumps({**entry, **when, **told}))
    (place / "rollback-1.1.0-mail-1.json").write_text("{")
    (place / "rollback-9.9.9-mail-1.json").write_text("{")
    done = write(tmp_path / "play", reports, {**data, "outbox": str(outbox)})
    assert done.returncode == 0, done.stdout
    written = json.loads((reports / "site1-1.1.0.json").read_text())["announced"]
    assert {(item["event"], item["channel"], item["state"]) for item in written} == {
        ("start", "mail", "sent"),
        ("success", "webhook", "failed"),
        ("window", "file", "unknown"),
        (None, None, "unknown"),
    }
    page = (reports / "site1-1.1.0.html").read_text()
    assert "20 Nov 2026, 08:00:01 UTC" in page
    assert "&lt;b&gt;refused&lt;/b&gt;" in page
    assert "may have been sent" in page
    assert "is damaged" in page


def test_where_it_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = write(tmp_path / "play", tmp_path / "file" / "reports", assessed(tmp_path / "state"))
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert f"the report cannot be written: {tmp_path}/file/reports/site1-1.1.0.html: Not a directory" in said
    assert "Traceback" not in done.stdout


READ = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Read it
      slipway.release.read_feedback: {path: "HERE/feedback.yml"}
      register: read
    - name: Keep it
      ansible.builtin.copy: {content: "{{ read.feedback | to_json }}", dest: "HERE/kept.json", mode: "600"}
      delegate_to: localhost
      check_mode: false
"""


def read(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "feedback.yml").write_text(text)
    return unreachable.play(directory, READ.replace("HERE", str(directory)), *options)


def test_feedback_is_read_as_people_write_it(tmp_path: Path) -> None:
    text = """
release: 1.1.0
bugs:
  - severity: low
    date: 2026-11-18
    text: |
      A typo
      in the title
feedback: [{score: 1, customer: Harbour}]
support: {this_week: 4, week_before: 9}
"""
    done = read(tmp_path, text, "--check")
    assert done.returncode == 0, done.stdout
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["bugs"] == [{"severity": "low", "date": "2026-11-18", "text": "A typo in the title", "fixed": None}]
    assert kept["support"] == {"this_week": 4, "week_before": 9}


WRONG = {
    "value.yml": (
        "release: 1.1.0\nbugs: [{severity: fatal, date: 2026-11-18, text: x}]",
        "bugs[0].severity: must be one of",
    ),
    "syntax.yml": ("release: [", "line 1: is no YAML: "),
    "text.yml": ("just a text", "must be a mapping, not text"),
    "bytes.yml": ("release: 1.1.0\x00", "is no YAML: ReaderError"),
    "itself.yml": ("release: 1.1.0\nissues: &a [*a]", "line 2: has an alias (*NAME): "),
    "large.yml": ("# " + "x" * 1_000_000, "is larger than 1000 kB"),
    "gone.yml": (None, "No such file or directory"),
}


def test_what_is_no_feedback_fails_in_one_line(tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = []
    for number, (name, (text, _)) in enumerate(WRONG.items()):
        if text is not None:
            (tmp_path / name).write_text(text)
        given = {"slipway.release.read_feedback": {"path": str(tmp_path / name)}}
        tasks.append({**given, "register": f"read{number}", "ignore_errors": True})
    kept, names = tmp_path / "kept.json", ", ".join(f"read{number}" for number in range(len(WRONG)))
    copy = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(kept), "mode": "600"}
    tasks.append({"ansible.builtin.copy": copy, "delegate_to": "localhost"})
    done = unreachable.play(tmp_path, yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    for result, (name, (_, said)) in zip(json.loads(kept.read_text()), WRONG.items(), strict=True):
        assert result["failed"]
        assert result["msg"].startswith(f"{tmp_path / name}: {said}"), result["msg"]
        assert "\n" not in result["msg"]
    assert "Traceback" not in done.stdout
