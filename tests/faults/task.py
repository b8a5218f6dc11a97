"""The task of the schedules: what becomes of a parameter follows from its index, and every call is logged."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.faults.checker import DEAD, Call
from worker import Context, Reject

LOG = "FAULTS_CALLS"
PACE = "FAULTS_PACE"


def compute(parameter: int, context: Context) -> dict[str, int]:
    """A value, an error to retry, an error that is final, or the death of the process."""
    _log(context)
    time.sleep(float(os.environ[PACE]))
    if parameter % 29 == 11:
        raise ValueError(f"{parameter} never works")
    if parameter % 37 == 17:
        raise Reject(f"{parameter} is refused")
    if context.attempt == 1 and parameter % 23 == 7:
        raise OSError(f"{parameter} does not work the first time")
    if context.attempt == 1 and parameter % 31 == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"parameter": parameter, "square": parameter * parameter}


def expected(index: int) -> Any:
    """What the ledger must have for `index` in the end."""
    return DEAD if index % 29 == 11 or index % 37 == 17 else {"parameter": index, "square": index * index}


def _log(context: Context) -> None:
    """One line of one write, so that lines of several processes stay whole."""
    descriptor = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{context.index} {context.attempt}\n".encode())
    os.close(descriptor)


def logged(path: Path) -> list[Call]:
    """The calls so far; a line that is being written is left out."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [Call(*map(int, line.split())) for line in whole.splitlines()]
