"""Cells that all end with the release that stood before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos import faults
from tests.chaos.cells import IN_PHASE, Cell

BACK = ["rollback"]


@pytest.mark.promise("M4", "R6")
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(Cell(faults.KILLED, IN_PHASE["migrate"], "deploy", BACK), id="controller killed: migrate"),
        pytest.param(Cell(faults.POSTGRES, IN_PHASE["backup"], "deploy", BACK), id="PostgreSQL stopped: backup"),
        pytest.param(Cell(faults.DISK, IN_PHASE["backup"], "deploy", BACK), id="disk full: backup"),
        pytest.param(Cell(faults.HOST, IN_PHASE["switch"], "deploy", BACK), id="host killed: switch"),
    ],
)
def test_the_release_before_stands_whole_and_no_write_is_lost(survives: Callable[[Cell], None], cell: Cell) -> None:
    survives(cell)
