"""Waiting for what other processes bring about, which no event tells a test."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds a test waits for an event before it fails: never a measure of speed."""


def eventually(
    condition: Callable[[], bool], otherwise: Callable[[], str] = str, *, patience: float = PATIENCE, pause: float = 0.02
) -> None:
    """Return as soon as `condition` holds; fail with what `otherwise` says if it does not within `patience` seconds.

    Args:
        pause: seconds between two looks; longer where a look is dear.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:.0f} s; {otherwise()}")
        time.sleep(pause)
