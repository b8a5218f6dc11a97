"""A function that fails in every way a function can, at the parameters that are chosen: to see that only those are lost.

    TASK=examples.misbehave:misbehave MISBEHAVE=3:raise,5:segfault ...

chooses by index, in any parameter space; a parameter that is an object with a `kind`, such as the line `{"kind": "segfault"}`
of a JSON Lines file, chooses for itself. All others have the square of their index as their value.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from worker import Context, Reject, Retry, whole_chunk


def misbehave(parameter: Any, context: Context) -> Any:
    """The square of the index, or the misbehaviour chosen for it."""
    kind = chosen(parameter, context.index)
    return KINDS[kind](context) if kind else context.index**2


@whole_chunk
def misbehave_together(parameters: Sequence[Any], contexts: Sequence[Context]) -> list[Any]:
    """`misbehave` for all parameters of a chunk in one call, so that one culprit takes all of them down."""
    return [misbehave(parameter, context) for parameter, context in zip(parameters, contexts, strict=True)]


def chosen(parameter: Any, index: int) -> str | None:
    """The kind of misbehaviour that is wanted here, if any."""
    if isinstance(parameter, dict) and parameter.get("kind"):
        return str(parameter["kind"])
    choices = dict(choice.split(":") for choice in os.environ.get("MISBEHAVE", "").split(",") if choice)
    return choices.get(str(index))


def fail(context: Context) -> None:
    raise ValueError(f"index {context.index} was told to raise")


def fail_once(context: Context) -> str:
    if context.attempt == 1:
        raise ValueError(f"index {context.index} was told to raise at its first attempt")
    return f"attempt {context.attempt}"


def ask_for_retry(context: Context) -> str:
    if context.attempt == 1:
        raise Retry("not yet", after=0.1)
    return f"attempt {context.attempt}"


def reject(context: Context) -> None:
    raise Reject(f"index {context.index} is beyond help")


def exit_politely(context: Context) -> None:
    sys.exit(4)


def interrupt(context: Context) -> None:
    raise KeyboardInterrupt


def exit_at_once(context: Context) -> None:
    os._exit(3)


def crash(context: Context) -> None:
    ctypes.string_at(0)


def kill_itself(context: Context) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(context: Context) -> None:
    time.sleep(1e9)


def spin(context: Context) -> None:
    """Hang in C, holding the GIL: no other thread and no signal handler of this process runs again."""
    deque(itertools.repeat(None), maxlen=0)


def allocate(context: Context) -> None:
    """Take memory without end: set MEMORY_LIMIT_MB."""
    hoard = []
    while True:
        hoard.append(b"x" * 2**20)


def allocate_array(context: Context) -> None:
    """The same by NumPy."""
    import numpy as np  # here, since no other kind needs it

    hoard = []
    while True:
        hoard.append(np.ones(2**20))


def leak(context: Context) -> int:
    """Keep 20 MB more at each call, so that a later one must fail."""
    LEAKED.append(b"x" * (20 * 2**20))
    return context.index**2


def return_a_set(context: Context) -> set[int]:
    return {context.index}


def return_nan(context: Context) -> list[float]:
    return [1.0, float("nan")]


def return_a_circle(context: Context) -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def return_too_much(context: Context) -> str:
    return "x" * 10_000_000


def speak(context: Context) -> int:
    """Print, to both outputs."""
    print(f"index {context.index} prints")
    print(f"index {context.index} complains", file=sys.stderr)
    return context.index**2


def listen(context: Context) -> int:
    """Read standard input, which is empty."""
    if sys.stdin.read():
        raise ValueError("standard input is not empty")
    return context.index**2


LEAKED: list[bytes] = []

KINDS: dict[str, Callable[[Context], Any]] = {
    "raise": fail,
    "raise-once": fail_once,
    "retry": ask_for_retry,
    "reject": reject,
    "sys-exit": exit_politely,
    "interrupt": interrupt,
    "exit": exit_at_once,
    "segfault": crash,
    "kill": kill_itself,
    "hang": hang,
    "spin": spin,
    "allocate": allocate,
    "allocate-array": allocate_array,
    "leak": leak,
    "set": return_a_set,
    "nan": return_nan,
    "circle": return_a_circle,
    "too-much": return_too_much,
    "print": speak,
    "stdin": listen,
}
