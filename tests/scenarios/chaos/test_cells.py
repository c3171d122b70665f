"""Six cells of `make chaos`: what goes wrong leaves one release whole, and every acknowledged write accounted for."""

from __future__ import annotations

import pytest

from lab.host import Host
from lab.writer import RATE
from tests.chaos import faults
from tests.chaos.arena import Arena
from tests.chaos.cells import IN_PHASE, Cell, calm, play
from tests.chaos.faults import Moment
from tests.scenarios.conftest import ROOT, SITE

BEFORE_ROLLBACK = Moment("task", "rollback")


@pytest.fixture(scope="module")
def arena() -> Arena:
    made = Arena(Host(SITE), ROOT / "build" / "chaos" / SITE)
    made.keep("1.0.0")
    calm(made, "deploy")
    made.keep("1.1.0")
    return made


@pytest.mark.promise("M4", "R6")
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(Cell(faults.BACKUP, BEFORE_ROLLBACK, "rollback", ["rollback"]), id="newest backup corrupted"),
        pytest.param(Cell(faults.KILLED, IN_PHASE["migrate"], "deploy", ["rollback"]), id="controller killed: migrate"),
        pytest.param(Cell(faults.POSTGRES, IN_PHASE["migrate"], "deploy", ["rollback"]), id="PostgreSQL stopped"),
        pytest.param(Cell(faults.DISK, IN_PHASE["backup"], "deploy", ["rollback"]), id="disk full: backup"),
        pytest.param(Cell(faults.HOST, IN_PHASE["switch"], "deploy", ["rollback"]), id="host killed: switch"),
        pytest.param(Cell(faults.KILLED, IN_PHASE["switch"], "deploy", ["deploy"]), id="controller killed: switch"),
    ],
)
def test_a_whole_release_stands_and_no_write_is_lost(arena: Arena, cell: Cell, request: pytest.FixtureRequest) -> None:
    result = play(arena, cell, request.node.callspec.id.replace(" ", "-"))
    assert result.wrong == ()
    assert result.accounts.lost == ()
    # it was really under load: half the rate, over the time that nothing answers too
    assert len(result.accounts.found) + len(result.accounts.aside) > result.seconds * RATE / 4
