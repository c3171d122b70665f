"""Real runs of ansible-playbook against a host that cannot be reached: arguments of roles are checked without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins.action import unreachable

PLAY: list[dict[str, Any]] = [
    {
        "name": "Check",
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Check the arguments of all roles",
                "slipway.release.check_arguments": {"required": ["application", "release_version"]},
            }
        ],
    }
]
GIVEN = {"application": {}, "release_version": "1.2.0"}


def check(directory: Path, *options: str, **given: object) -> tuple[int, str]:
    """Check what is given; returns the exit code and what the operator saw."""
    done = unreachable.play(directory, yaml.safe_dump(PLAY), "-e", json.dumps(given), *options)
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_what_is_right_passes_without_a_word_or_a_call(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, printed = check(tmp_path, *options, **GIVEN, monitor_looks="7", preflight_open="yes")
    assert code == 0, printed
    assert "remote calls 0" in printed


def test_all_that_is_missing_is_named(tmp_path: Path) -> None:
    code, printed = check(tmp_path)
    assert code != 0
    assert "missing required arguments: application, release_version" in printed


@pytest.mark.promise("G8")
def test_all_that_is_of_a_wrong_type_is_named_whatever_role_takes_it_and_nothing_else(tmp_path: Path) -> None:
    code, printed = check(tmp_path, **GIVEN, monitor_looks="many", rehearse_policy="sometimes")
    assert code != 0
    assert "'monitor_looks' is of type" in printed
    assert "rehearse_policy must be one of" in printed
    # the specification of all arguments is of no use to anybody
    assert "backup_keep_days" not in printed
