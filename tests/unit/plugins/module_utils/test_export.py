"""A backup leaves its host encrypted or not at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import IO, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._engine import carry_out
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._export import export, export_path, withdraw
from ansible_collections.slipway.release.plugins.module_utils._ledger import Ledger
from ansible_collections.slipway.release.plugins.module_utils._manifest import write_manifest
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("M1")

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
# stands in for age: what it would encrypt is kept as it came
AGE = """#!/bin/sh
while [ "$1" != --output ]; do echo "$1" >>"$0.words"; shift; done
cat >"$2"
"""


class Runner(HostRunner):
    """Starts age from a directory of the test's own."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.called = ""

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        assert Path(argv[0]).name == "age"
        self.called = argv[0]
        return super().stream([str(self.program), *argv[1:]], errors)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    program = tmp_path / "bin/age"
    program.parent.mkdir()
    program.write_text(AGE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    ledger = Ledger(tmp_path / "ledger")
    with ledger.locked():
        pass
    place = ledger.root / "backups/b1"
    place.mkdir()
    write_manifest(place, {"id": "b1"}, {})
    return cast(
        "Site",
        SimpleNamespace(ledger=ledger, backups=place.parent, runner=Runner(program), at_rest=nullcontext, hidden=str),
    )


def run(site: Site, recipients: list[str]) -> None:
    with site.ledger.locked():
        carry_out(site, export(site, "b1", recipients, os.geteuid()))


def test_all_of_a_backup_goes_through_age_for_the_recipients(site: Site, tmp_path: Path) -> None:
    run(site, [RECIPIENT])
    path = export_path(site, "b1")
    listed = subprocess.run(["tar", "-tf", str(path)], capture_output=True, text=True, check=True).stdout.split()
    assert listed == ["b1/manifest.json"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "bin/age.words").read_text().split() == ["--encrypt", "--recipient", RECIPIENT]
    with site.ledger.locked():
        carry_out(site, withdraw(site, "b1"))
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("recipients", [[], ["ssh-ed25519 AAAA"], [RECIPIENT, "--passphrase"]])
def test_without_true_recipients_nothing_is_written(site: Site, recipients: list[str]) -> None:
    with pytest.raises(SlipwayError, match=r"only for age recipients \(age1\.\.\.\)"):
        run(site, recipients)
    assert not export_path(site, "b1").parent.exists()


def test_a_host_without_age_is_told_in_one_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SlipwayError, match="age is not on this host"):
        run(site, [RECIPIENT])
    assert not export_path(site, "b1").exists()


def test_a_host_without_age_uses_the_one_that_a_bundle_brought(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    brought = site.ledger.root / "helpers/age"
    brought.parent.mkdir()
    cast("Runner", site.runner).program.rename(brought)
    cast("Runner", site.runner).program = brought
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    run(site, [RECIPIENT])
    assert cast("Runner", site.runner).called == str(brought)
    assert export_path(site, "b1").exists()


def test_an_age_that_fails_leaves_nothing_to_be_fetched(site: Site) -> None:
    cast("Runner", site.runner).program.write_text("#!/bin/sh\necho 'age: error: malformed recipient' >&2; exit 1\n")
    with pytest.raises(SlipwayError, match="malformed recipient"):
        run(site, [RECIPIENT])
    assert not export_path(site, "b1").exists()


def test_a_damaged_backup_does_not_leave(site: Site) -> None:
    (site.backups / "b1/extra").touch()
    with pytest.raises(SlipwayError, match="is not in the manifest"):
        run(site, [RECIPIENT])
