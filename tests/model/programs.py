"""The real loops of worker, ledger and seed as fibers: on a broker in memory, a clock of the world's, and a real ledger file."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from scripts.api import Desk
from scripts.ledger import Ledger
from scripts.parameters import ParameterSpace
from scripts.reading import missing_in
from scripts.seed import Seed, everything
from scripts.specification import Specification
from scripts.store import Store, Unwritable
from tests.memory_broker import ManualClock, MemoryBroker, MemoryServer
from tests.model.child import Child, Hear
from tests.model.fiber import Fiber, Killed
from worker.brokers.base import Broker
from worker.config import Settings
from worker.consumer import Consumer
from worker.errors import BrokerUnavailable
from worker.executor import Executor
from worker.signals import StopSignal

REMOTE = {"open", "publish", "seed", "receive", "flush", "extend", "release", "dead_letter", "depth"}
"""Methods of a broker that have an effect on it when they are called. What `settle` asks for, one of them carries out."""

COMMIT = "commit"
"""The point before a transaction of the ledger is committed."""

TICKS = 1024
"""Of the clock, in a second: a power of two, so that sums and differences of times are exact. This clock stands still while a
program runs, so one that has woken a rounding error too early would go on waking for ever."""

FAIL = "fail"
"""The verdict that lets a call fail: its reply is lost, or the disk is full."""


@dataclass(frozen=True)
class Surroundings:
    """What every program of a world stands in."""

    settings: Settings
    specification: Specification
    space: ParameterSpace
    server: MemoryServer
    clock: ManualClock
    ledger_path: Path


class Stop(StopSignal):
    """A request to stop, without signals and descriptors."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.requested = False
        self.sleep = sleep  # type: ignore[assignment]  # waiting is the fiber's

    def request(self, number: int | None = None) -> None:
        self.requested = True

    def fileno(self) -> int:
        return -1


class Program:
    """One program from its start to its end. `_main` is what its process does."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.fiber = Fiber(self._main)
        self.connection = MemoryBroker(around.server, self.sleep, self.fiber.pause)
        self.stop = Stop(self.sleep)

    def _main(self) -> None:
        raise NotImplementedError

    @property
    def is_alive(self) -> bool:
        return not self.fiber.is_over

    def sleep(self, seconds: float) -> None:
        self.fiber.pause("sleep", self._around.clock() + math.ceil(seconds * TICKS) / TICKS)

    def terminate(self) -> None:
        """SIGTERM; it ends a wait."""
        self.stop.request()
        self.fiber.until = self._around.clock()

    def kill(self) -> None:
        """SIGKILL; the broker notices that the connection is gone."""
        self.fiber.kill()
        self.connection.cut()

    @property
    def _broker(self) -> Broker:
        return cast(Broker, Line(self.connection, self.fiber))


class Line:
    """A broker as a program sees it: each call with an effect is a point, and its reply can be lost."""

    def __init__(self, connection: MemoryBroker, fiber: Fiber) -> None:
        self._connection = connection
        self._fiber = fiber

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._connection, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if self._fiber.is_killed:  # nothing that unwinds with it reaches the broker
                raise Killed
            verdict = self._fiber.pause(name) if name in REMOTE else None
            value = method(*arguments, **named)
            if verdict == FAIL:
                self._connection.cut()
                raise BrokerUnavailable("the reply was lost")
            return value

        return call


class Worker(Program):
    """A worker with one child process."""

    def __init__(self, around: Surroundings, name: str, hear: Hear) -> None:
        super().__init__(around)
        self.child = Child(hear)
        self._name = name

    def _main(self) -> None:
        Consumer(
            replace(self._around.settings, worker_name=self._name),
            self._broker,
            [cast(Executor, self.child)],
            stamp=self._around.specification.stamp,
            stop=self.stop,
            clock=self._around.clock,
            sleep=lambda _readable, seconds: self.sleep(seconds),
        ).run()


class Bookkeeper(Program):
    """The ledger."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.desk = Desk()

    def _main(self) -> None:
        around = self._around
        try:
            store = PausingStore(around, self.fiber.pause)
        except Unwritable:
            return  # a ledger that cannot begin says so and ends
        try:
            Ledger(
                around.settings,
                around.specification,
                around.space,
                store,
                self._broker,
                desk=self.desk,
                stop=self.stop,
                clock=around.clock,
            ).run()
        finally:
            store.abandon()


class PausingStore(Store):
    """A store with a point before each commit, where the disk can be full."""

    def __init__(self, around: Surroundings, pause: Callable[[str], Any]) -> None:
        self._pause = pause
        super().__init__(around.ledger_path, around.specification, around.clock())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
            if self._pause(COMMIT) == FAIL:
                raise sqlite3.OperationalError("database or disk is full")

    def abandon(self) -> None:
        """What the operating system does when the process ends in any way."""
        self._connection.close()
        self._lock.close()


class Seeder(Program):
    """A seed; one that `knows` the ledger's file leaves out what is there."""

    def __init__(self, around: Surroundings, *, knows: bool) -> None:
        super().__init__(around)
        self._knows = knows
        self.is_done = False

    def _main(self) -> None:
        around, broker = self._around, self._broker
        missing = missing_in(around.ledger_path) if self._knows and around.ledger_path.exists() else everything
        seed = Seed(
            around.settings,
            broker,
            around.specification,
            around.space,
            missing=missing,
            stop=self.stop,
            sleep=self.sleep,
        )
        with suppress(BrokerUnavailable):  # only raised once a stop was asked for
            self.is_done = seed.run()
        broker.close()
