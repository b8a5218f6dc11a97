"""Steps that the cases share: each waits for an event, with a deadline far above what it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scripts.embedded import Server
from worker.brokers import Broker, Delivery, Queue
from worker.errors import BrokerUnavailable

DEADLINE_SECONDS = 30.0


def take(broker: Broker, count: int) -> list[Delivery]:
    """Receive exactly `count` messages."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    taken: list[Delivery] = []
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} messages came"
        taken += broker.receive(count - len(taken), 1.0)
    return taken


def take_one(broker: Broker) -> Delivery:
    return take(broker, 1)[0]


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [delivery.body for delivery in deliveries]


def assert_empty(broker: Broker) -> None:
    """Nothing is ready, and nothing becomes ready in a moment."""
    assert bodies(broker.receive(1, 0.3)) == []


def reopen(broker: Broker, consume: Queue | None = None) -> None:
    """Open until the broker is there, as every program does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return broker.open(consume)
        except BrokerUnavailable:
            assert time.monotonic() < deadline, "the broker did not come back"
            time.sleep(0.05)


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """The broker is away, its data kept."""
    server.kill()
    try:
        yield
    finally:
        server.start()
