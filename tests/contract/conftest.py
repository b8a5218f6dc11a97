"""The brokers that the contract suite holds to `worker.brokers.base`, and what each does its own way.

A case for something that only some brokers have asks for the fixture of that name, which skips it on the others.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import pytest

from scripts.embedded import Server
from worker.brokers import Broker, Queue, connect
from worker.config import Settings
from worker.errors import BrokerError

LEASE_SECONDS = 1.0
_runs = itertools.count()


@dataclass(frozen=True, slots=True)
class Kind:
    """One broker, and where it differs. The text beside a difference stands in `docs/brokers.md` too.

    Attributes:
        backend: its name in the settings.
        has_leases: a delivery whose worker is alive but silent for `lease_seconds` goes to another; elsewhere it stays
            until the connection ends.
        tells_in_flight: `Depth.in_flight` is a number.
        settles_after_reconnect: a settlement asked for before the connection broke still removes the original; elsewhere
            the broker has handed the original to others by then, and the result is a duplicate.
    """

    backend: str
    has_leases: bool
    tells_in_flight: bool
    settles_after_reconnect: bool

    def in_flight(self, count: int) -> int | None:
        """What `Depth.in_flight` is when `count` messages are."""
        return count if self.tells_in_flight else None


REDIS = Kind("redis", has_leases=True, tells_in_flight=True, settles_after_reconnect=True)
RABBITMQ = Kind("rabbitmq", has_leases=False, tells_in_flight=False, settles_after_reconnect=False)


@pytest.fixture(params=[REDIS, RABBITMQ], ids=lambda kind: kind.backend)
def kind(request: pytest.FixtureRequest) -> Kind:
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture
def leases(kind: Kind) -> float:
    """Seconds of a lease, on a broker that has them."""
    if not kind.has_leases:
        pytest.skip(f"{kind.backend} has no leases")
    return LEASE_SECONDS


@pytest.fixture
def server(kind: Kind, request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(f"{kind.backend}_server")
    return server


@pytest.fixture
def settings(kind: Kind, server: Server) -> Settings:
    """The settings of a run of its own, on a short lease and a short ladder."""
    settings = Settings(
        queue_backend=kind.backend,
        run_id=f"contract-{os.getpid()}-{next(_runs)}",
        lease_seconds=LEASE_SECONDS,
        retry_delays=(0.2, 0.5),
    )
    return at(settings, server.url)


def at(settings: Settings, url: str) -> Settings:
    """`settings` with the broker's URL changed."""
    return replace(settings, redis_url=url) if settings.queue_backend == "redis" else replace(settings, rabbitmq_url=url)


class Programs:
    """Programs of one run: brokers in this process, and processes that hold messages until they are killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()

    def broker(self, consume: Queue | None = None, *, settings: Settings | None = None) -> Broker:
        """A broker, open; closed when the test ends."""
        broker = self.unopened(settings)
        broker.open(consume)
        return broker

    def unopened(self, settings: Settings | None = None) -> Broker:
        broker = connect(settings or self._settings, "contract")
        self._stack.callback(broker.close)
        return broker

    def holder(self, consume: Queue, count: int) -> subprocess.Popen[str]:
        """A process that has received `count` messages of `consume` and settles none; to be killed."""
        environ = {
            **os.environ,
            "QUEUE_BACKEND": self._settings.queue_backend,
            f"{self._settings.queue_backend.upper()}_URL": self._settings.broker_url,
            "RUN_ID": self._settings.run_id,
            "LEASE_SECONDS": str(self._settings.lease_seconds),
            "RETRY_DELAYS": ",".join(map(str, self._settings.retry_delays)),
        }
        command = [sys.executable, "-m", "tests.contract.holder", consume, str(count)]
        holder = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        self._stack.enter_context(holder)
        self._stack.callback(holder.kill)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        return holder

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def programs(settings: Settings) -> Iterator[Programs]:
    programs = Programs(settings)
    try:
        yield programs
    finally:
        programs.close()
        broker = connect(settings, "contract")
        with suppress(BrokerError):  # a test that leaves no broker behind leaves no queues either
            broker.open()
            broker.delete()
        broker.close()
