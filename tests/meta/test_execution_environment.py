"""The image for AWX holds what the lock pins, and nothing that nobody asked for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.promise("U3")


def test_it_is_what_the_project_needs_as_the_lock_pins_it() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=]", item)[0] for item in needed}
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    image = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
    depends = image["dependencies"]
    pins = [depends[key]["package_pip"] for key in ("ansible_core", "ansible_runner")] + depends["python"]
    assert sorted(pins) == sorted(f"{name}=={locked[name]}" for name in names)


def test_it_has_the_shape_of_the_third_version() -> None:
    image = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
    assert set(image) == {"version", "images", "dependencies"}
    assert image["version"] == 3
    assert set(image["images"]) == {"base_image"}
    assert set(image["dependencies"]) == {"ansible_core", "ansible_runner", "python_interpreter", "python", "system"}
    assert all(isinstance(item, str) for key in ("python", "system") for item in image["dependencies"][key])


def test_the_collection_that_declares_it_to_awx_is_the_one_that_the_tests_know() -> None:
    (collection,) = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    known = yaml.safe_load((ROOT / "tests/unit/roles/awx_argument_specs.json").read_text())
    assert collection["name"] == known["collection"]
    assert collection["version"].startswith(f">={known['version']},<")
