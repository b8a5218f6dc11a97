"""A broker in memory, for unit tests: real encoded bytes, the contract of `worker.brokers.base`, and a clock that tests move.

It has leases, as Redis Streams does, or does without, as RabbitMQ does. `MemoryServer` is what outlives a connection: it can
go down, come back, and lose all it holds; a `MemoryBroker` is one connection to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.brokers.base import Broker, Delayed, Delivery, Depth, Queue
from worker.errors import BrokerUnavailable


@dataclass
class ManualClock:
    """A clock that stands still until it is moved, and a sleep that moves it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0)


@dataclass(eq=False)
class Entry:
    """One message. `owner` holds it until `expires`; without an owner it is ready from `ready_at` on."""

    body: bytes
    ready_at: float
    deliveries: int = 0
    owner: MemoryBroker | None = None
    expires: float = 0.0


@dataclass
class MemoryServer:
    """The queues of one run. While `down` is set, every call of every connection raises `BrokerUnavailable`.

    Attributes:
        leases: whether a task that a lost connection held waits for its lease, and whatever happens together is one step
            (Redis Streams). Otherwise it goes to others at once, results are durable before and apart from the removal of
            their task, and so are seeded tasks and the position (RabbitMQ).
        seeding: without leases, the connection that seeds; another one is turned away.
    """

    clock: Callable[[], float] = field(default_factory=ManualClock)
    lease_seconds: float = 10.0
    leases: bool = True
    down: bool = False
    position: int = 0
    seeding: MemoryBroker | None = None
    queues: dict[Queue, list[Entry]] = field(default_factory=lambda: {queue: [] for queue in Queue})

    def lose_everything(self) -> None:
        """What a restart without its disk does."""
        self.position = 0
        for entries in self.queues.values():
            entries.clear()

    def add(self, queue: Queue, body: bytes, delay: float = 0.0) -> None:
        self.queues[queue].append(Entry(body, self.clock() + delay))

    def bodies(self, queue: Queue) -> list[bytes]:
        """Every message of `queue`, ready, delayed or held."""
        return [entry.body for entry in self.queues[queue]]

    def available(self, queue: Queue) -> list[Entry]:
        """What a consumer of `queue` could be given now, oldest first."""
        now = self.clock()
        leases = self.leases and queue is Queue.TASKS  # the other queues have one reader
        return [
            entry
            for entry in self.queues[queue]
            if (entry.ready_at <= now if entry.owner is None else leases and entry.expires <= now)
        ]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What `settle` was asked for."""

    delivery: Delivery
    results: Sequence[bytes]
    retries: Sequence[Delayed]


class MemoryBroker:
    """One connection. `sleep` is how it waits for messages; a `ManualClock`'s own moves the clock instead.

    `between` is called between two steps of one method that others may come in between.
    """

    def __init__(
        self,
        server: MemoryServer,
        sleep: Callable[[float], None] | None = None,
        between: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self.server = server
        self._sleep = sleep if sleep is not None else getattr(server.clock, "sleep", lambda _seconds: None)
        self._between = between
        self._queue: Queue | None = None
        self._settlements: list[Settlement] = []
        self._is_cut = False
        self.calls: list[str] = []

    def cut(self) -> None:
        """The connection breaks: nothing works until `open`. Without leases, what it held goes to others at once."""
        self._is_cut = True
        if not self.server.leases:
            self._let_go()

    def open(self, consume: Queue | None = None) -> None:
        self._is_cut = False
        self._call("open")
        self._queue = consume
        if consume is Queue.RESULTS:
            for entry in self.server.queues[consume]:
                entry.owner = None
        if not self.server.leases:
            self._let_go()
            settlements, self._settlements = self._settlements, []
            for settlement in settlements:  # nobody knows which of them arrived, and the deliveries are void
                self._add(settlement.results)

    def publish(self, queue: Queue, bodies: Sequence[bytes]) -> None:
        self._call("publish")
        for body in bodies:
            self.server.add(queue, body)

    def seed(self, position: int, bodies: Sequence[bytes], end: int) -> int:
        self._call("seed")
        if not self.server.leases:
            if self.server.seeding not in (None, self):
                raise BrokerUnavailable("another seed is at work")
            self.server.seeding = self
        if position == self.server.position and end > position:
            for body in bodies:
                self.server.add(Queue.TASKS, body)
            if not self.server.leases:
                self._between("seed")
                self._check()
            self.server.position = end
        self.server.seeding = None
        return self.server.position

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        self._call("receive")
        self._carry_out()
        if limit == 0:
            return []
        queue = self._consumed()
        if not self.server.available(queue) and timeout > 0:
            self._sleep(timeout)
            self._check()
        return [self._take(entry) for entry in itertools.islice(self.server.available(queue), limit)]

    def pause(self) -> None:
        self._call("pause")  # nothing is ever sent ahead

    def settle(self, delivery: Delivery, results: Sequence[bytes] = (), retries: Sequence[Delayed] = ()) -> None:
        settlement = Settlement(delivery, results, retries)
        self._settlements.append(settlement)
        if not self.server.leases and not self._is_cut and not self.server.down:
            self._make_durable(settlement)

    def flush(self) -> None:
        self._call("flush")
        self._carry_out()

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._call("extend")
        for delivery in deliveries:
            if self._owns(delivery):
                delivery.handle.expires = self.server.clock() + self.server.lease_seconds

    def release(self, deliveries: Sequence[Delivery]) -> None:
        self._call("release")
        for delivery in deliveries:
            if self._owns(delivery):
                delivery.handle.owner = None
                delivery.handle.deliveries -= 1

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        self._call("dead_letter")
        if self._owns(delivery):
            self.server.queues[self._consumed()].remove(delivery.handle)
            self.server.add(Queue.DEAD, delivery.body)

    def depth(self) -> Depth:
        self._call("depth")
        now = self.server.clock()
        tasks = self.server.queues[Queue.TASKS]
        return Depth(
            ready=sum(entry.owner is None and entry.ready_at <= now for entry in tasks),
            in_flight=sum(entry.owner is not None for entry in tasks),
            delayed=sum(entry.owner is None and entry.ready_at > now for entry in tasks),
            results=len(self.server.queues[Queue.RESULTS]),
            dead_letters=len(self.server.queues[Queue.DEAD]),
        )

    def wait(self, readable: Sequence[int], timeout: float) -> None:
        self._call("wait")
        self._sleep(timeout)

    def delete(self) -> None:
        self._call("delete")
        self.server.lose_everything()

    def close(self) -> None:
        self.calls.append("close")
        self._let_go()

    def _let_go(self) -> None:
        for entries in self.server.queues.values():
            for entry in entries:
                if entry.owner is self:
                    entry.owner = None
        if self.server.seeding is self:
            self.server.seeding = None

    def _call(self, name: str) -> None:
        self._check()
        self.calls.append(name)

    def _check(self) -> None:
        if self.server.down or self._is_cut:
            self._is_cut = True
            raise BrokerUnavailable("the memory broker is down" if self.server.down else "the connection is cut")

    def _consumed(self) -> Queue:
        assert self._queue is not None, "receive needs open(consume=...)"
        return self._queue

    def _take(self, entry: Entry) -> Delivery:
        delivery = Delivery(entry.body, entry.deliveries, entry)
        entry.owner = self
        entry.deliveries += 1
        entry.expires = self.server.clock() + self.server.lease_seconds
        return delivery

    def _owns(self, delivery: Delivery) -> bool:
        """Whether nobody settled, lost or took over the message since; a lease that ran out unnoticed does no harm."""
        entry = delivery.handle
        held = any(entry is other for other in self.server.queues[self._consumed()])
        return held and entry.owner is self and entry.deliveries == delivery.deliveries + 1

    def _carry_out(self) -> None:
        settlements, self._settlements = self._settlements, []
        for settlement in settlements:
            if not self._owns(settlement.delivery):
                continue  # late: somebody else has it, and their outcome counts
            if self.server.leases:
                self._make_durable(settlement)
            self.server.queues[self._consumed()].remove(settlement.delivery.handle)

    def _make_durable(self, settlement: Settlement) -> None:
        self._add(settlement.results)
        if self._owns(settlement.delivery):  # otherwise the retries are left to whoever has it now
            for retry in settlement.retries:
                self.server.add(Queue.TASKS, retry.body, retry.delay)

    def _add(self, results: Sequence[bytes]) -> None:
        for body in results:
            self.server.add(Queue.RESULTS, body)


def _fits(broker: MemoryBroker) -> Broker:
    """Checked by mypy: it is a `Broker`."""
    return broker
