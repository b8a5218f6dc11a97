"""The child process, seen from the worker: call, time limit, memory limit, blame.

The task function runs in `worker.child`. When that process dies or is killed, its shared memory tells which call it was on:
that parameter has failed, its neighbours have not, and a new child goes on with them. The worker is never blocked by any of
it, so it can keep its broker alive.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker import log, pipe
from worker.config import Settings
from worker.errors import TaskError
from worker.messages import Chunk
from worker.pipe import BEGUN, SINCE, START, STOP, Call, Message
from worker.process import ChildProcess, cause_of_death
from worker.retry import Failed

STOP_SECONDS = 2.0
"""How long an idle child may take to end by itself (exit handlers of the task) before it is killed."""

FIRST_DELAY, LAST_DELAY = 1.0, 30.0
"""Seconds between two starts of a child that does not become ready; they double."""

MOST_UNEXPLAINED = 3
"""Children in a row that end outside of calls, and have computed nothing, before the task is blamed as a whole."""

logger = log.get("executor")


@dataclass(slots=True)
class Computed:
    """What became of a chunk.

    Attributes:
        chunk: the chunk that was submitted.
        outcomes: one for each of its indices, in order: the JSON text of the value, why it failed, or None: not computed,
            which only `cancel` leaves.
        seconds: time spent in the function.
    """

    chunk: Chunk
    outcomes: list[str | Failed | None]
    seconds: float = 0.0


@dataclass(slots=True)
class _Work:
    """A chunk that was submitted, and what is known of it."""

    computed: Computed
    missing: int
    cuts: set[int] = field(default_factory=set)  # where calls of a whole-chunk function must end

    def add(self, outcomes: Sequence[str | tuple[str, bool, float | None]], seconds: float) -> None:
        """The next outcomes that the child reports: those of the first positions that have none."""
        known = self.computed.outcomes
        news = [outcome if isinstance(outcome, str) else Failed(*outcome) for outcome in outcomes]
        if len(news) == len(known):  # the usual chunk, all at once
            known[:] = news
        else:
            missing = [position for position, outcome in enumerate(known) if outcome is None]
            for position, outcome in zip(missing, news, strict=False):
                known[position] = outcome
        self.missing -= len(news)
        self.computed.seconds += seconds

    def blame(self, start: int, stop: int, reason: str) -> None:
        """The call of these positions took its process down: if they are several, the halves are called apart."""
        if stop - start == 1:
            self.computed.outcomes[start] = Failed(reason)
            self.missing -= 1
        else:
            self.cuts |= {start, (start + stop) // 2, stop}

    def calls(self) -> list[Call]:
        """What is left to compute: the runs of positions without an outcome, cut at the cuts."""
        if self.missing == len(self.computed.outcomes) and not self.cuts:
            return [(0, self.missing)]
        calls: list[Call] = []
        for position, outcome in enumerate(self.computed.outcomes):
            if outcome is not None:
                continue
            if calls and calls[-1][1] == position and position not in self.cuts:
                calls[-1] = (calls[-1][0], position + 1)
            else:
                calls.append((position, position + 1))
        return calls

    def order(self) -> Message:
        """What the child is told."""
        chunk = self.computed.chunk
        return chunk.space.to_json(), chunk.ranges, chunk.attempt, self.calls()


class Executor:
    """One child process that computes chunks, restarted as often as it takes.

    Args:
        settings: `task`, `seed`, `seed_globals`, `time_limit_seconds`, `memory_limit_mb`, `max_message_bytes`.
        clock: seconds; the child's calls are timed by CLOCK_MONOTONIC, so another clock does for tests without a time limit.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._work: deque[_Work] = deque()
        self._done: list[Computed] = []
        self._child: ChildProcess | None = None
        self._ready = False  # this child
        self._was_ready = False  # this child or the one that it replaces
        self._problem: str | None = None
        self._delay = FIRST_DELAY
        self._restart_at: float | None = None
        self._unready = ""  # why this child says it cannot become ready
        self._ended = 0  # chunks that this child has ended
        self._condemned = 0  # SINCE of the call for which this child was killed
        self._unexplained = 0  # ends of children since the last outcome for which no parameter was to blame

    def start(self) -> None:
        """Start the child, if there is none. The executor is `ready` some polls later."""
        if self._child:
            return
        self._child = ChildProcess(
            self._selector,
            {
                "task": self._settings.task,
                "seed": self._settings.seed,
                "seed_globals": self._settings.seed_globals,
                "memory_limit_mb": self._settings.memory_limit_mb,
                "longest_value": self._settings.max_message_bytes // 2,
            },
        )
        self._restart_at = None
        self._unready = ""
        self._ended = 0
        self._condemned = 0

    def submit(self, chunk: Chunk) -> None:
        """Queue `chunk`. A child that is ready has it in its pipe at once, and does not wait for us between two chunks."""
        work = _Work(Computed(chunk, [None] * len(chunk)), len(chunk))
        self._work.append(work)
        if self._child and self._ready:
            self._child.send(work.order())

    @property
    def chunks(self) -> Sequence[Chunk]:
        """Submitted and not finished, in order; the first one is computed."""
        return [work.computed.chunk for work in self._work]

    @property
    def started(self) -> bool:
        """Whether the function was called for the first of `chunks`."""
        if not self._work:
            return False
        begun = self._child is not None and self._child.cells[BEGUN] > self._ended
        return begun or self._work[0].missing < len(self._work[0].computed.outcomes)

    @property
    def ready(self) -> bool:
        """Whether the task is loaded and set up. A child that dies of a parameter changes nothing: another replaces it."""
        return self._was_ready

    @property
    def problem(self) -> str | None:
        """Why the child did not become ready, until it is."""
        return self._problem

    def fileno(self) -> int:
        """A descriptor that is readable when `poll` has something to do."""
        return self._selector.fileno()

    def deadline(self) -> float | None:
        """When `poll` must be called even though nothing is readable."""
        if self._child is None:
            return self._restart_at
        return self._time_limit(self._child, self._child.cells[SINCE]) if self._timed else None

    def poll(self) -> list[Computed]:
        """Hear the child, enforce the time limit, replace a dead child. Never blocks.

        Returns:
            the chunks that are finished now.

        Raises:
            TaskError: the task cannot be loaded, or breaks every child; another one would not change that.
        """
        if self._child is None:
            if self._restart_at is not None and self._clock() >= self._restart_at:
                self.start()
            return []
        self._child.flush()
        try:
            for message in self._child.read():
                self._hear(self._child, message)
        except BlockingIOError:
            self._enforce_time_limit(self._child)
        except EOFError:
            self._replace(self._child)
        done, self._done = self._done, []
        return done

    def withdraw(self) -> list[Chunk]:
        """Give back every chunk of an executor that is not `ready`, which goes on trying to become it."""
        chunks = [work.computed.chunk for work in self._work]
        self._work.clear()
        return chunks

    def cancel(self) -> list[Computed]:
        """Kill the child, give back every chunk with what is known of it, and stop. Nobody is blamed."""
        if self._child:
            self._child.kill()
            with contextlib.suppress(BlockingIOError, EOFError, TaskError):
                while True:
                    for message in self._child.read():
                        self._hear(self._child, message)
        done = self._done + [work.computed for work in self._work]
        self.stop()
        return done

    def stop(self) -> None:
        """End the child and wait for it. Doing it again does nothing."""
        if self._child:
            self._child.bury(patience=STOP_SECONDS if self._ready and not self._work else 0.0)
        self._child = None
        self._ready = self._was_ready = False
        self._restart_at = None
        self._work.clear()
        self._selector.close()

    def _hear(self, child: ChildProcess, message: Message) -> None:
        match message:
            case (pipe.OUTCOMES, outcomes, seconds):
                self._unexplained = 0
                self._work[0].add(outcomes, seconds)
                self._retire_first()
            case (pipe.READY,):
                self._ready = self._was_ready = True
                self._problem = None
                self._delay = FIRST_DELAY
                for work in self._work:
                    child.send(work.order())
            case (pipe.UNREADY, why):
                self._unready = why
                child.kill()  # threads that the task left running could keep it from ending
            case (pipe.REFUSED, why):
                raise TaskError(why)

    def _retire_first(self) -> None:
        if not self._work[0].missing:
            self._done.append(self._work.popleft().computed)
            self._ended += 1

    @property
    def _timed(self) -> bool:
        """Whether a time limit applies at this moment."""
        return bool(self._settings.time_limit_seconds and self._work and self._ready and not self._condemned)

    def _time_limit(self, child: ChildProcess, since: int) -> float:
        """When the call that began at `since` has taken too long; outside of calls, when the next one may have."""
        limit = self._settings.time_limit_seconds
        if not since:
            return self._clock() + limit
        return since / 1e9 + limit * (child.cells[STOP] - child.cells[START])

    def _enforce_time_limit(self, child: ChildProcess) -> None:
        since = child.cells[SINCE]
        if self._timed and self._clock() >= self._time_limit(child, since):
            self._condemned = since
            child.kill()

    def _replace(self, child: ChildProcess) -> None:
        """The child is dead: blame the parameter it died of, if it died of one, and start another."""
        died = f"the process died: {cause_of_death(child.bury())}"
        self._child = None
        if not self._ready:
            self._was_ready = False
            self._problem = self._unready or f"{died}, before the task was ready"
            self._restart_at = self._clock() + self._delay
            self._delay = min(2 * self._delay, LAST_DELAY)
            logger.warning("task is not ready", extra={"action": "restart", "error": self._problem})
            return
        self._ready = False
        since = child.cells[SINCE]
        if self._condemned and self._condemned != since:
            since = 0  # the call returned just before we killed it, and the one that died is not to blame
        if self._condemned:
            died = f"the time limit ran out: more than {self._settings.time_limit_seconds:g} s"
        logger.warning("child process replaced", extra={"action": "restart", "error": died})
        if since:
            self._unexplained = 0
            self._work[0].blame(child.cells[START], child.cells[STOP], died)
            self._retire_first()
        elif self._work:
            self._unexplained += 1
            if self._unexplained == MOST_UNEXPLAINED:
                raise TaskError(
                    f"{died}, {MOST_UNEXPLAINED} times outside of any call: the task must not close file descriptors that are "
                    "not its own, or end its process from a thread"
                )
        self.start()
