"""The program that runs the task function: `python -m worker.child ORDERS REPORTS CELLS`, three inherited descriptors.

It is a process of its own, so that whatever the function does (crash, hang, leak, hold the GIL) happens to it and not to the
worker. It reads chunks, calls the function, reports the outcomes, and keeps in shared memory which call it is on, so that its
death needs no last words. The first message on ORDERS holds the keyword arguments of `Child`; each other one is a chunk.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import math
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from worker.errors import Reject, Retry, TaskError
from worker.memory import MemoryLimit
from worker.pipe import BEGUN, OUTCOMES, READY, REFUSED, SINCE, START, STOP, UNREADY, Call, Reader, cells, pack, write
from worker.space import Ranges, expand, from_json
from worker.task import Context, Task, load
from worker.values import describe, encode

FLUSH_NANOSECONDS = 2_000_000
FLUSH_CHARACTERS = 65_536
"""Outcomes gather for this long, or until they are this long: fast parameters share a write, slow ones have their own."""

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>

Outcome = str | tuple[str, bool, float | None]
"""The JSON text of a value; or the fields of `worker.retry.Failed`."""


class Child:
    """The child process.

    Args:
        reports: descriptor to write to.
        cells: the shared memory (`worker.pipe`).
        task: name of the task.
        seed: the run's seed.
        seed_globals: seed `random` and NumPy's global generator before each call.
        memory_limit_mb: memory this process may take, in MB; 0: no limit.
        longest_value: characters of JSON text a value may have.
    """

    def __init__(
        self,
        reports: int,
        cells: memoryview,
        *,
        task: str,
        seed: int,
        seed_globals: bool,
        memory_limit_mb: int,
        longest_value: int,
    ) -> None:
        self._reports = reports
        self._cells = cells
        self._task_name = task
        self._seed = seed
        self._seed_globals = global_seeder() if seed_globals else None
        self._memory = MemoryLimit(memory_limit_mb)
        self._longest_value = longest_value
        self._outcomes: list[Outcome] = []
        self._characters = 0
        self._flushed = 0

    def run(self, orders: Reader) -> None:
        """Get ready, say so, and compute one chunk after another.

        Raises:
            EOFError: the worker closed the pipe.
        """
        task = self._prepare()
        while task:
            for order in orders.read():
                self._compute(task, *order)

    def _prepare(self) -> Task | None:
        try:
            task = load(self._task_name)
            self._memory.impose()
        except TaskError as error:
            self._report(REFUSED, str(error))
            return None
        try:
            if task.setup:
                task.setup()
        except BaseException as error:  # whatever a setup() raises, sys.exit() included
            self._memory.lift()
            self._report(UNREADY, f"setup() of {task.name} failed: {describe(error)}")
            return None
        self._report(READY)
        return task

    def _compute(self, task: Task, space: dict[str, Any], ranges: Ranges, attempt: int, calls: Sequence[Call]) -> None:
        """Compute what `calls` name of one chunk."""
        parameters = from_json(space).parameters(ranges)
        indices = expand(ranges)
        self._cells[BEGUN] += 1
        self._flushed = time.monotonic_ns()
        compute = self._call_together if task.whole_chunk else self._call_each
        for start, stop in calls:
            compute(task, parameters, indices, attempt, start, stop)
        self._flush()

    def _call_each(
        self, task: Task, parameters: Sequence[Any], indices: Sequence[int], attempt: int, start: int, stop: int
    ) -> None:
        function, takes_context, seed_globals = task.function, task.takes_context, self._seed_globals
        begin, keep = self._begin, self._keep  # looked up once: a function that does nothing takes less than a look-up here
        for position in range(start, stop):
            begin(position, position + 1)
            try:
                if seed_globals:
                    seed_globals(Context(indices[position], attempt, self._seed))
                if takes_context:
                    value = function(parameters[position], Context(indices[position], attempt, self._seed))
                else:
                    value = function(parameters[position])
                keep(value)
            except BaseException as error:  # sys.exit() in a function concerns one parameter too
                self._fail(error)

    def _call_together(
        self, task: Task, parameters: Sequence[Any], indices: Sequence[int], attempt: int, start: int, stop: int
    ) -> None:
        """One call for all; when it raises, one for each half, until the culprit stands alone."""
        self._begin(start, stop)
        contexts = [Context(index, attempt, self._seed) for index in indices[start:stop]]
        try:
            if self._seed_globals:
                self._seed_globals(contexts[0])
            together = list(parameters[start:stop])
            values = as_many(task.function(together, contexts) if task.takes_context else task.function(together), len(together))
        except BaseException as error:  # as in _call_each
            if stop - start == 1:
                self._fail(error)
                return
            if isinstance(error, MemoryError):
                os._exit(1)  # the worker sees of which call, and starts a fresh process for the halves
        else:
            for value in values:
                try:
                    self._keep(value)
                except BaseException as error:  # of this one value, or of turning it into text
                    self._fail(error)
            return
        middle = (start + stop) // 2
        self._call_together(task, parameters, indices, attempt, start, middle)
        self._call_together(task, parameters, indices, attempt, middle, stop)

    def _begin(self, start: int, stop: int) -> None:
        """Put down which call comes now, and that it comes now."""
        now = time.monotonic_ns()
        if now - self._flushed > FLUSH_NANOSECONDS or self._characters > FLUSH_CHARACTERS:
            self._flush()
            now = time.monotonic_ns()
        cells = self._cells
        cells[START] = start
        cells[STOP] = stop
        cells[SINCE] = now

    def _keep(self, value: Any) -> None:
        text = encode(value, self._longest_value)
        self._outcomes.append(text)
        self._characters += len(text)

    def _fail(self, error: BaseException) -> None:
        out_of_memory = isinstance(error, MemoryError)
        if out_of_memory:
            self._memory.lift()
        self._outcomes.append((describe(error), isinstance(error, Reject), asked_delay(error)))
        if out_of_memory:  # perhaps a leak, which must not fail the neighbours: the worker starts a fresh process for them
            self._flush()
            os._exit(0)

    def _flush(self) -> None:
        """Report what has gathered."""
        seconds = (time.monotonic_ns() - self._flushed) / 1e9
        self._cells[SINCE] = 0  # from here on, time that passes (a full pipe) and death are no parameter's fault
        if self._outcomes:
            self._report(OUTCOMES, self._outcomes, seconds)
            self._outcomes.clear()
            self._characters = 0
        self._flushed = time.monotonic_ns()

    def _report(self, *message: Any) -> None:
        write(self._reports, pack(message))


def as_many(values: Any, count: int) -> list[Any]:
    """What a whole-chunk function returned, as a list.

    Raises:
        TypeError, ValueError: it is no sequence of `count` values.
    """
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    if len(values) != count:
        raise ValueError(f"the function returned {len(values)} values for {count} parameters")
    return list(values)


def asked_delay(error: BaseException) -> float | None:
    """The seconds of a `Retry(after=...)`, if they are any."""
    try:
        after = float(error.after) if isinstance(error, Retry) and error.after is not None else None
    except (TypeError, ValueError):
        return None
    return after if after is not None and math.isfinite(after) else None


def global_seeder() -> Callable[[Context], None]:
    """What seeds the generators that have no owner: `random`'s, and NumPy's if it is installed."""
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        return lambda context: random.seed(context.seed)

    def seed(context: Context) -> None:
        random.seed(context.seed)
        numpy.random.seed(context.seed % 2**32)  # all that NumPy's old generator takes

    return seed


def isolate(*descriptors: int) -> None:
    """Make this process depend on its worker alone, and keep the pipes for itself."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # The worker decides when to stop. A handler, since programs that the function starts would inherit SIG_IGN.
        signal.signal(number, lambda _number, _frame: None)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # elsewhere the end of the pipe tells, after the chunk
    for descriptor in descriptors:  # a process that the function forks and leaves behind must not hold our pipes open
        os.register_at_fork(after_in_child=partial(os.close, descriptor))
    faulthandler.enable()  # a crash shows in the log where it happened
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what was printed before a crash is not lost


def main() -> None:
    orders, reports, memory = map(int, sys.argv[1:])
    isolate(orders, reports)
    reader = Reader(orders)
    try:
        [(assignment,)] = reader.read()
        Child(reports, cells(memory), **assignment).run(reader)
    except (EOFError, BrokenPipeError):
        pass  # the worker is done with us, or gone
    except BaseException:  # an error of our own: end at once, whatever threads the function has left
        traceback.print_exc()
        os._exit(70)


if __name__ == "__main__":
    main()
