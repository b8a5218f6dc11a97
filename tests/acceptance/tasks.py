"""Task functions that keep a log of their calls, and that a test can hold and let go."""

from __future__ import annotations

import os
import time
from pathlib import Path

from worker import Context

FOLDER = Path(os.environ.get("TTG_TEST_FOLDER", "."))


def square(parameter: int, context: Context) -> int:
    """The parameter's square; the call is logged."""
    log_call(context)
    return parameter * parameter


def slow_square(parameter: int, context: Context) -> int:
    """The same, after a little while: a run of it can be interrupted."""
    log_call(context)
    time.sleep(0.01)
    return parameter * parameter


def held_square(parameter: int, context: Context) -> int:
    """The same, but it does not return before the test lets go of this parameter (`Run.let_go`)."""
    log_call(context)
    while not ((FOLDER / "go").exists() or (FOLDER / f"go-{parameter}").exists()):
        time.sleep(0.01)
    return parameter * parameter


def noise(parameter: int, context: Context) -> float:
    """A random number that depends on the context's seed alone."""
    import random

    return random.Random(context.seed).random()


def log_call(context: Context) -> None:
    """One line of one write: index, attempt, process."""
    descriptor = os.open(FOLDER / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{context.index} {context.attempt} {os.getpid()}\n".encode())
    os.close(descriptor)
