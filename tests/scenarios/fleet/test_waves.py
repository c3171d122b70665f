"""Waves over four real hosts: what is bad goes no further, and no site is left half done."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import testinfra

from lab import witness
from tests.scenarios.conftest import ROOT

SITES = ("site1", "site2", "site3", "site4")
DATABASE = "docker exec --interactive swarm-postgres-1 psql -X --quiet --username swarm_owner swarm_production"
# Nothing is wrong with the release: the data of some sites does not bear what it writes.
TRAP = f"""
{DATABASE} <<'SQL'
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF to_jsonb(NEW) ? 'priority' THEN RAISE EXCEPTION 'this site takes no priorities'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON campaigns FOR EACH ROW EXECUTE FUNCTION refuse();
SQL
"""
LEDGER = "cat /var/lib/slipway/swarm/ledger.json 2>/dev/null || echo {}"

pytestmark = pytest.mark.timeout(1800)


def on(site: str, script: str) -> str:
    done = testinfra.get_host(f"docker://slipway-lab-{site}").run("bash -ec %s", script)
    assert done.rc == 0, f"{script}\n{done.stderr}"
    return str(done.stdout)


def look(site: str) -> witness.Witness:
    return witness.look(partial(on, site))


def ledger(site: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(on(site, LEDGER))
    return found


@pytest.fixture
def deploy(tmp_path: Path) -> Callable[..., tuple[int, str, dict[str, Any]]]:
    """Deploy a release in waves, as an operator does."""

    def run(version: str, waves: str) -> tuple[int, str, dict[str, Any]]:
        asked = ("-e", f"release_version={version}", "-e", f"fleet_waves={waves}")
        done = subprocess.run(
            ["ansible-playbook", "deploy.yml", "-i", "molecule/fleet/inventory", *asked],
            cwd=ROOT,
            env={**os.environ, "SLIPWAY_RECORD_DIR": str(tmp_path / "records"), "ANSIBLE_FORCE_COLOR": "false"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, json.loads((tmp_path / "records/latest.json").read_text())

    return run


def untouched(before: witness.Witness, after: witness.Witness) -> None:
    """Nothing was changed, and nothing was restarted."""
    assert after == before


def as_before(before: witness.Witness, after: witness.Witness) -> None:
    """What ran before runs, on the data of before."""
    assert (after.release, after.commit, after.env, after.dirty) == (before.release, before.commit, before.env, 0)
    assert after.schema == before.schema
    assert after.rows == before.rows
    assert after.files == before.files
    assert after.images == before.images
    assert after.leftovers == []


def closed(site: str) -> None:
    """The ledger has no run, nothing that is half done, and no host that waits to take itself back."""
    state = ledger(site)
    assert (state["current"], state["candidate"], state["run"], state.get("armed")) == ("1.0.0", None, None, None)


def test_a_bad_release_is_taken_back_on_the_first_wave_and_touches_no_other(
    deploy: Callable[..., tuple[int, str, dict[str, Any]]],
) -> None:
    before = {site: look(site) for site in SITES}
    code, printed, record = deploy("1.2.0", "2,2")
    after = {site: look(site) for site in SITES}
    assert code != 0
    assert [record["hosts"][site]["outcome"] for site in SITES] == ["taken back"] * 2 + ["not begun"] * 2
    for site in SITES[:2]:
        as_before(before[site], after[site])
        closed(site)
    for site in SITES[2:]:
        untouched(before[site], after[site])
        assert ledger(site) == {}
    assert "fleet: 2 taken back, 2 not begun\n" in printed
    assert "  wave 1  taken back: site1, site2: R2 Critical functionality broken\n" in printed
    assert "  later   not begun, nothing was changed: site3, site4\n" in printed


def test_a_bad_second_wave_goes_back_alone_and_the_sites_after_it_are_not_begun(
    deploy: Callable[..., tuple[int, str, dict[str, Any]]],
) -> None:
    for site in SITES[1:3]:
        on(site, TRAP)
    before = {site: look(site) for site in SITES}
    code, printed, record = deploy("1.1.0", "1,2,1")
    after = {site: look(site) for site in SITES}
    assert code != 0
    outcomes = [record["hosts"][site]["outcome"] for site in SITES]
    assert outcomes == ["deployed", "taken back", "taken back", "not begun"]
    # the canary is whole, on the new release
    assert (after["site1"].release, ledger("site1")["current"], ledger("site1")["run"]) == ("1.1.0", "1.1.0", None)
    for site in SITES[1:3]:
        as_before(before[site], after[site])
        closed(site)
    untouched(before["site4"], after["site4"])
    assert record["fleet"] == {"waves": [["site1"], ["site2", "site3"]], "not_begun": ["site4"]}
    assert "fleet: 1 deployed, 2 taken back, 1 not begun\n" in printed
    assert "  wave 1  deployed: site1\n" in printed
    assert "  wave 2  taken back: site2, site3: R2 Critical functionality broken\n" in printed
    assert "  later   not begun, nothing was changed: site4\n" in printed
    calls = [record["hosts"][site]["remote_calls"] for site in SITES[1:3]]
    assert calls[0] == calls[1] <= 16
