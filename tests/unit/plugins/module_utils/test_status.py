"""What `status` says of a site."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._ledger import Armed, Before, Candidate, Ledger
from ansible_collections.slipway.release.plugins.module_utils._site import Site
from ansible_collections.slipway.release.plugins.module_utils._status import facts

pytestmark = pytest.mark.promise("G8")


def test_status_names_the_command_that_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    ledger = Ledger(tmp_path / "ledger")
    database = SimpleNamespace(kept=list)
    place = cast(
        "Site", SimpleNamespace(ledger=ledger, backups=tmp_path / "backups", database=database, containers=list)
    )
    assert facts(place)["next"] == "ansible-playbook deploy.yml"
    with ledger.locked():
        run = ledger.open_run("r0", "deploy", "anna@controller", "1.1.0", 900)
        ledger.update(
            candidate=Candidate("1.1.0", "migrating", Before("1.0.0", [], None)), armed=Armed("1.1.0", 900, time.time())
        )
    seen = facts(place)
    assert "wait for it; should it have died, anna@controller now and anybody in 900 s" in seen["next"]
    assert seen["armed"] == {"release": "1.1.0", "timeout": 900, "seconds_left": 900}
    with ledger.locked():
        ledger.update(run=replace(run, last_seen=time.time() - 1000, boot=""))
    seen = facts(place)
    assert seen["next"].startswith("ansible-playbook deploy.yml -e release_version=1.1.0 to go on")
    assert seen["next"].endswith("or ansible-playbook rollback.yml")
    assert seen["armed"]["seconds_left"] == 0
