"""The task of the runs in the cluster. `run.files` brings it there, so it needs nothing but TTG's worker.

What becomes of a parameter follows from its index, and every call is put down in a file on the node, which outlives the pod.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker import Context

LOG = "FAULTS_CALLS"
PACE = "FAULTS_PACE"
HUNGRY = "FAULTS_HUNGRY"
"""Set: these two eat memory, at every attempt."""
EATS_ALONE = 200
EATS_WORKER = 210
"""Has the kernel end the worker and not its child. Under cgroup v2 Kubernetes has it end the whole container anyway
(memory.oom.group); under v1 it would end the process that has the most."""
NEVER, LATER = 41, 7
"""Of 97: one fails at every attempt, one at the first."""
MEAL = 2**24
FULL = 2**30
"""Bytes: taken at once, and beyond any limit."""


def compute(parameter: int, context: Context) -> dict[str, int]:
    """A value after `FAULTS_PACE` seconds, an error to retry, or the end of the container's memory."""
    _log(context)
    time.sleep(float(os.environ[PACE]))
    if os.environ.get(HUNGRY) and parameter in (EATS_ALONE, EATS_WORKER):
        if parameter == EATS_WORKER:
            Path("/proc/1/oom_score_adj").write_text("1000")
        _eat()
    if parameter % 97 == NEVER:
        raise ValueError(f"{parameter} never works")
    if context.attempt == 1 and parameter % 97 == LATER:
        raise OSError(f"{parameter} does not work the first time")
    return {"parameter": parameter, "square": parameter * parameter}


def value(index: int, environment: Mapping[str, str]) -> Any:
    """The right value of `index` under the variables that the workers had; None: the parameter must be dead."""
    hungry = environment.get(HUNGRY) and index in (EATS_ALONE, EATS_WORKER)
    return None if hungry or index % 97 == NEVER else {"parameter": index, "square": index * index}


def raises(index: int) -> bool:
    """Whether a call for `index` may end in an exception, after which it waits for another attempt."""
    return index % 97 in (NEVER, LATER)


def _log(context: Context) -> None:
    """One line of one write, so that lines of several processes stay whole."""
    descriptor = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{context.index} {context.attempt}\n".encode())
    os.close(descriptor)


def _eat() -> None:
    eaten: list[bytes] = []
    while len(eaten) * MEAL < FULL:
        eaten.append(b"x" * MEAL)  # written, unlike a bytearray's zeros, which take no memory
