"""The contract between the programs and a broker: it moves bytes and names outcomes.

Every guarantee that the rest of the system relies on is written here, once; `tests/contract` holds each broker to it. What a
broker cannot do the same way is declared in `docs/brokers.md` and as an attribute in the suite.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Queue(enum.StrEnum):
    """The queues of a run."""

    TASKS = "tasks"
    RESULTS = "results"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One hand-over of a message.

    Attributes:
        body: the message's bytes.
        deliveries: how often it was handed over before without being settled; releases do not count.
        handle: the broker's own; nobody else looks at it.
    """

    body: bytes
    deliveries: int
    handle: Any


@dataclass(frozen=True, slots=True)
class Delayed:
    """A task message that becomes ready `delay` seconds from now."""

    body: bytes
    delay: float


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages of a run at the broker. `in_flight` is None where the broker does not tell."""

    ready: int
    in_flight: int | None
    delayed: int
    results: int
    dead_letters: int


class Broker(Protocol):
    """One connection to the queues of one run, for one program; not thread-safe.

    Every method may raise `BrokerUnavailable` (away, restarting, full: call `open` again, then repeat what failed) and
    `BrokerRefused` (waiting does not help). No client exception leaves it.
    """

    def open(self, consume: Queue | None = None) -> None:
        """Connect, make the run's queues if they are not there, and subscribe to `consume`. Opening again reconnects.

        Settlements that were asked for before the connection broke are not forgotten: the next `receive` or `flush` makes
        their results durable, and removes the originals where they are still ours. A consumer of `RESULTS` takes over at
        once what an earlier one left unsettled.
        """

    def publish(self, queue: Queue, bodies: Sequence[bytes]) -> None:
        """Append `bodies`; durable when it returns. Repeating it after an error may duplicate, never lose."""

    def seed(self, position: int, bodies: Sequence[bytes], end: int) -> int:
        """Publish the tasks that begin at parameter `position` and end before `end`, unless that was done before.

        Idempotent and resumable: the broker keeps the position reached. Tasks are published only if `position` is just that;
        in any case the position reached is returned, and it is where to go on. `seed(0, [], 0)` asks for it. Two seeds at
        once do not leave a gap; one of them waits or is told the other's position.
        """

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        """Carry out what `settle` asked for, and take up to `limit` messages: one round trip where the broker can.

        Waits up to `timeout` seconds for the first message when there is none; 0 does not wait. `limit` 0 only settles.
        Nothing is held before the first call with a limit above 0, nor after `pause`.
        """

    def pause(self) -> None:
        """Take no more until the next `receive` with a limit above 0: what the broker had already sent ahead goes back."""

    def settle(self, delivery: Delivery, results: Sequence[bytes] = (), retries: Sequence[Delayed] = ()) -> None:
        """Ask for: results and retries durable, then the original removed. Carried out by `receive` and `flush`.

        A delivery that another consumer has settled by now (a lease that ran out) is ignored, or its results are duplicates:
        either way the original is never removed before results and retries are durable.
        """

    def flush(self) -> None:
        """Carry out every settlement that was asked for, before it returns."""

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Renew the lease on `deliveries`, where there are leases; those that were lost stay lost."""

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give `deliveries` back, ready for others in under a second, `Delivery.deliveries` unchanged."""

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Move a message to the dead-letter queue, bytes intact; done when it returns."""

    def depth(self) -> Depth:
        """How many messages are where."""

    def wait(self, readable: Sequence[int], timeout: float) -> None:
        """Sleep until one of the file descriptors `readable` is, the broker has news, or `timeout` seconds are over.

        Keeps the connection alive meanwhile (heartbeats, confirms).
        """

    def delete(self) -> None:
        """Remove every queue of the run and all it holds."""

    def close(self) -> None:
        """Disconnect. What was received and not settled goes to others. Never raises."""
