"""Tasks for the tests of the executor that no user would write."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import worker
from examples import misbehave


def setup() -> None:
    """Fails as long as the file SETUP_NEEDS is not there."""
    needed = os.environ.get("SETUP_NEEDS")
    if needed and not Path(needed).exists():
        raise OSError(f"{needed} is not there yet")


def identity(parameter: Any) -> Any:
    return parameter


def process_id(_parameter: Any) -> int:
    return os.getpid()


def process_id_then_hang(index: int) -> int:
    if index > 0:
        time.sleep(1e9)
    return os.getpid()


def wait_for_file(index: int) -> int:
    """Index 3 waits for the file GATE."""
    while index == 3 and not Path(os.environ["GATE"]).exists():
        time.sleep(0.005)
    return index


def fork_and_crash(index: int) -> int:
    """Index 1 leaves a process behind that holds everything it inherited, and crashes."""
    if index == 1:
        if os.fork() == 0:
            time.sleep(1e9)
        misbehave.crash(worker.Context(index, 1, 0))
    return index


def close_everything(index: int) -> int:
    """Index 1 does as a daemon would."""
    if index == 1:
        os.closerange(3, 256)
    return index


def babble(index: int) -> int:
    """Index 1 writes a text to whatever is open."""
    for descriptor in range(3, 256) if index == 1 else ():
        with contextlib.suppress(OSError):
            os.write(descriptor, b"to whom it may concern")
    return index


def seed_of(_parameter: Any, context: worker.Context) -> int:
    return context.seed


def global_randomness(_parameter: Any) -> list[float]:
    import numpy as np

    return [random.random(), float(np.random.random())]  # the global generator is what is tested


def numpy_values(index: int) -> Any:
    import numpy as np

    return {"scalar": np.int64(index), "array": np.arange(2) + index, "float": np.float64(0.5), "truth": np.bool_(True)}


@worker.whole_chunk
def one_value_short(parameters: Sequence[int]) -> list[int]:
    return list(parameters)[1:]


@worker.whole_chunk
def size_of_call(parameters: Sequence[int]) -> Any:
    import numpy as np

    return np.full(len(parameters), len(parameters))


@worker.whole_chunk
def together_with_a_set(parameters: Sequence[int]) -> list[Any]:
    return [{index} if index == 1 else index for index in parameters]


NOT_A_FUNCTION = 7
