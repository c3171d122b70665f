"""What is compressed at any level can be read with the memory that a reader gives."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner
from ansible_collections.slipway.release.plugins.module_utils._zstd import LEVEL, compressed, decompressed

WINDOW = 32 << 20


@pytest.mark.parametrize("level", [1, 19, LEVEL])
def test_a_reader_has_the_memory_that_what_was_written_asks_for(level: int) -> None:
    runner, held = HostRunner(), bytearray()
    compressed(runner, iter([b"a layer "] * 100), held.extend, level)
    # the frame's header names the window, however little is in it: an exponent over 1 kB, and eighths
    exponent, eighths = held[5] >> 3, held[5] & 7
    assert (1 << (10 + exponent)) * (8 + eighths) // 8 == WINDOW
    assert b"".join(decompressed(runner, "zstd", iter([bytes(held)]), 800)) == b"a layer " * 100
