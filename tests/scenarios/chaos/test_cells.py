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
# One host for those that need 1.1.0 to have been seen whole there, another for those that all end with 1.0.0.
NEW, OLD = pytest.mark.xdist_group("1.1.0"), pytest.mark.xdist_group("1.0.0")


@pytest.fixture(scope="module")
def arena() -> Arena:
    made = Arena(Host(SITE), ROOT / "build" / "chaos" / SITE)
    made.keep("1.0.0")
    return made


def see_both_whole(arena: Arena) -> None:
    if "1.1.0" not in arena.standings:
        arena.put_back("1.0.0")
        calm(arena, "deploy")
        arena.keep("1.1.0")


@pytest.mark.promise("M4", "R6")
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(
            Cell(faults.BACKUP, BEFORE_ROLLBACK, "rollback", ["rollback"]), id="newest backup corrupted", marks=NEW
        ),
        pytest.param(
            Cell(faults.KILLED, IN_PHASE["switch"], "deploy", ["deploy"]), id="controller killed: switch", marks=NEW
        ),
        pytest.param(
            Cell(faults.KILLED, IN_PHASE["migrate"], "deploy", ["rollback"]), id="controller killed: migrate", marks=OLD
        ),
        pytest.param(
            Cell(faults.POSTGRES, IN_PHASE["migrate"], "deploy", ["rollback"]), id="PostgreSQL stopped", marks=OLD
        ),
        pytest.param(Cell(faults.DISK, IN_PHASE["backup"], "deploy", ["rollback"]), id="disk full: backup", marks=OLD),
        pytest.param(
            Cell(faults.HOST, IN_PHASE["switch"], "deploy", ["rollback"]), id="host killed: switch", marks=OLD
        ),
    ],
)
def test_a_whole_release_stands_and_no_write_is_lost(arena: Arena, cell: Cell, request: pytest.FixtureRequest) -> None:
    if cell.verb == "rollback" or cell.following[-1] == "deploy":
        see_both_whole(arena)
    result = play(arena, cell, request.node.callspec.id.replace(" ", "-"))
    assert result.wrong == ()
    assert result.accounts.lost == ()
    # it was really under load: half the rate, over the time that nothing answers too
    assert len(result.accounts.found) + len(result.accounts.aside) > result.seconds * RATE / 4
