"""Real runs of ansible-playbook against a host that cannot be reached: evidence and notes are the controller's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins.action import unreachable

# as people write them: YAML makes a number of a version, and a date of a day
PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars:
    release_version: 1.2
    release_evidence_directory: HERE/evidence
    release_notes_directory: HERE/notes
    release_gates: {documentation: {waived: 2026-12-31, by: anna}}
    release_window: {from: "22:00", to: "22:00", time_zone: UTC}
  tasks:
    - name: Release
      ansible.builtin.import_role:
        name: slipway.release.release
    - name: Write the notes
      slipway.release.write_notes:
        product: swarm
        notes: {version: "1.2", date: "2026-11-20", sections: {Added: [A budget.], Internal: [Ruby.]}}
        directory: "{{ release_notes_directory }}"
      register: written
    - name: Write the notes nowhere
      slipway.release.write_notes:
        product: swarm
        notes: {version: "1.2", date: "2026-11-20", sections: {}}
      # how it fails is kept, and looked at
      ignore_errors: true
      register: nowhere
    - name: Keep what is known
      ansible.builtin.copy:
        content: "{{ {'evidence': release_evidence, 'written': written, 'nowhere': nowhere} | to_json }}"
        dest: HERE/kept.json
        mode: "600"
      delegate_to: localhost
      check_mode: false
    - name: Read what makes no sense
      ansible.builtin.import_role:
        name: slipway.release.release
      vars:
        release_gates: {test: required}
"""
COMMIT = "a" * 40


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    directory = tmp_path_factory.mktemp("evidence")
    (directory / "evidence/1.2").mkdir(parents=True)
    review = {"commit": COMMIT, "reviewer": "Anna", "kind": "peer", "when": "2026-11-20T10:00:00Z"}
    (directory / "evidence/1.2/review.json").write_text(json.dumps(review))
    done = unreachable.play(directory, PLAYBOOK.replace("HERE", str(directory)))
    assert (directory / "kept.json").exists(), done.stdout
    assert done.returncode != 0
    return directory, json.loads((directory / "kept.json").read_text()), done.stdout


@pytest.mark.promise("G1", "G2", "G8")
def test_every_gate_that_the_controller_knows_of_has_a_claim(played: tuple[Path, dict[str, Any], str]) -> None:
    _, kept, _ = played
    evidence = kept["evidence"]
    assert {gate: claim["ok"] for gate, claim in evidence.items()} == {
        "tests": False,
        "review": True,
        "documentation": None,
        "window": True,
    }
    assert evidence["review"]["commit"] == COMMIT
    assert (evidence["documentation"]["detail"], evidence["documentation"]["by"]) == ("2026-12-31", "anna")


@pytest.mark.promise("G4")
def test_the_notes_lie_on_the_controller_to_be_read(played: tuple[Path, dict[str, Any], str]) -> None:
    directory, kept, _ = played
    assert kept["written"]["notes"]["new"] == ["A budget."]
    assert not kept["written"]["changed"]
    assert sorted(path.name for path in (directory / "notes").iterdir()) == ["swarm-1.2.md", "swarm-1.2.txt"]
    assert (directory / "notes/swarm-1.2.md").read_text().startswith("# swarm 1.2 of 2026-11-20\n\n## What is new")
    assert kept["nowhere"]["msg"] == "missing required arguments: directory"


@pytest.mark.promise("G8")
def test_variables_that_make_no_sense_fail_in_one_line(played: tuple[Path, dict[str, Any], str]) -> None:
    _, _, output = played
    assert "release_gates.test: is unknown: did you mean tests?" in " ".join(output.split())
    assert "Traceback" not in output
