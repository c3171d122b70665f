"""Cells for which the new release has to have been seen whole: they begin with it, or end with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos import faults
from tests.chaos.arena import Arena
from tests.chaos.cells import IN_PHASE, Cell, calm
from tests.chaos.faults import Moment

BEFORE_ROLLBACK = Moment("task", "rollback")


@pytest.fixture(scope="module", autouse=True)
def seen_whole(arena: Arena) -> None:
    calm(arena, "deploy")
    arena.keep("1.1.0")


@pytest.mark.promise("M4", "R6")
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(Cell(faults.BACKUP, BEFORE_ROLLBACK, "rollback", ["rollback"]), id="newest backup corrupted"),
        pytest.param(Cell(faults.KILLED, IN_PHASE["switch"], "deploy", ["deploy"]), id="controller killed: switch"),
    ],
)
def test_a_whole_release_stands_and_no_write_is_lost(survives: Callable[[Cell], None], cell: Cell) -> None:
    survives(cell)
