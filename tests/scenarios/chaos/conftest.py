"""Six cells of `make chaos`: what goes wrong leaves one release whole, and every acknowledged write accounted for.

Each file of tests has a host to itself, and half of the work.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.host import Host
from lab.writer import RATE
from tests.chaos.arena import Arena
from tests.chaos.cells import Cell, play
from tests.scenarios.conftest import ROOT, SITE


@pytest.fixture(scope="module")
def arena() -> Arena:
    """A host on which 1.0.0 was seen whole, and stands."""
    made = Arena(Host(SITE), ROOT / "build" / "chaos" / SITE)
    made.keep("1.0.0")
    return made


@pytest.fixture
def survives(arena: Arena, request: pytest.FixtureRequest) -> Callable[[Cell], None]:
    """Plays a cell."""

    def played(cell: Cell) -> None:
        result = play(arena, cell, request.node.callspec.id.replace(" ", "-"))
        assert result.wrong == ()
        assert result.accounts.lost == ()
        # it was really under load: half the rate, over the time that nothing answers too
        assert len(result.accounts.found) + len(result.accounts.aside) > result.seconds * RATE / 4

    return played
