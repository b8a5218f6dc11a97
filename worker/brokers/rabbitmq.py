"""RabbitMQ, 3.10 or newer: durable quorum queues, confirms in windows, acknowledgements in bulk.

The queues of a run, all on the default exchange (`<run>` is the run's name):

    ttg.<run>.tasks        messages that may be taken now
    ttg.<run>.delay.<ms>   one for each step of the ladder `RETRY_DELAYS`: a message lies there for that long and then goes to
                           the tasks, dead-lettered at least once
    ttg.<run>.results      result messages for the ledger
    ttg.<run>.dead         dead letters: from workers, with the reason in the header `ttg-reason`, or from the tasks when a
                           message reached the broker's own delivery limit, which no worker's limit should let happen
    ttg.<run>.seed         one message, the position that the seed has reached; a new one pushes the old one out

A settlement publishes its results and retries at once and goes on; its delivery is acknowledged in whichever later call sees
the last of their confirms. So a chunk costs no waiting, and nothing is removed before what came of it is durable.

When the connection breaks, the broker gives every delivery that was not acknowledged to others. A settlement that was asked
for and not confirmed, or is asked for later with a delivery of the old connection, then only publishes its results again (the
ledger keeps the first value of each parameter): retries are left to whoever gets the original, and an acknowledgement would
name somebody else's message.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pika import BasicProperties

from worker.brokers.amqp import Link
from worker.brokers.base import Delayed, Delivery, Depth, Queue
from worker.config import Settings
from worker.errors import BrokerError, BrokerUnavailable, shorten

PERSISTENT = BasicProperties(delivery_mode=2)

DELIVERY_LIMIT = 10_000
"""Of every queue. Since 4.0 a quorum queue drops a message at its 20th redelivery unless told otherwise."""

WINDOW = 1_000
"""Messages that `publish` has under way at most."""

WINDOW_BYTES = 16 * 2**20

LARGEST_PREFETCH = 65_535
"""AMQP says it in 16 bits."""

LOCK_SECONDS = 5.0
"""How long to wait for another seed or ledger before saying so."""

REASON = "ttg-reason"
REMAINING = "ttg-remaining-ms"
"""Header of a delayed message: milliseconds it has still to wait when it comes back to the tasks."""
RELEASED = "ttg-deliveries"
"""Header of a message that was given back: how often it had been handed over before."""

Message = tuple[str, bytes, BasicProperties]
"""Where a message goes (the queue's name), its body, its properties."""


class RabbitMQ:
    """The contract `worker.brokers.base.Broker` on RabbitMQ."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._prefix = f"ttg.{settings.run_id}"
        self._steps = sorted({_milliseconds(delay) for delay in settings.retry_delays})
        self._queues = self._topology()
        self._consume: Queue | None = None
        self._link: Link | None = None
        self._generation = 0  # of the link; a delivery of an earlier one is void
        self._window = 0  # messages that the broker may have sent us without an acknowledgement
        self._buffer: deque[Delivery] = deque()  # came in, not yet handed out
        self._in_hand: set[int] = set()  # tags of what was handed out and is not yet settled
        self._arrived = 0
        self._unsettled: dict[_Settlement, None] = {}

    def _topology(self) -> dict[str, dict[str, Any]]:
        quorum = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
        safe = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        tasks, dead = self._queue(Queue.TASKS), self._queue(Queue.DEAD)
        return {  # a queue after the one it dead-letters to
            dead: quorum,
            tasks: quorum | safe | {"x-dead-letter-routing-key": dead},
            self._queue(Queue.RESULTS): quorum,
            self._queue("seed"): quorum | {"x-max-length": 1},
        } | {
            self._queue(f"delay.{step}"): quorum | safe | {"x-dead-letter-routing-key": tasks, "x-message-ttl": step}
            for step in self._steps
        }

    def _queue(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    # Connection

    def open(self, consume: Queue | None = None) -> None:
        if self._link is not None:
            self._link.close()
        self._generation += 1
        self._consume = consume
        self._window = 0
        self._buffer.clear()
        self._in_hand.clear()
        self._link = link = Link(self._settings, self._name)
        for queue, arguments in self._queues.items():
            link.declare(queue, arguments)
        if consume is Queue.RESULTS:
            self._lock("ledger")
        for settlement in list(self._unsettled):
            settlement.tag = None
            self._begin(settlement, self._results(settlement.results))

    def _lock(self, role: str) -> None:
        if not self._opened.lock(self._queue(f"{role}.lock"), LOCK_SECONDS):
            raise BrokerUnavailable(f"another {role} is at work on run {self._settings.run_id}")

    @property
    def _opened(self) -> Link:
        if self._link is None:
            raise BrokerUnavailable("the connection to RabbitMQ is not open")
        self._link.check()
        return self._link

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def delete(self) -> None:
        link = self._opened
        link.cancel()
        for queue in reversed(self._queues):  # a queue before the one it dead-letters to
            link.delete(queue)

    # Publishing

    def publish(self, queue: Queue, bodies: Sequence[bytes]) -> None:
        self._publish(self._queue(queue), bodies)

    def _publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        if not bodies:
            return
        link = self._opened
        window = max(1, min(WINDOW, WINDOW_BYTES // max(1, max(map(len, bodies)))))
        for number, body in enumerate(bodies):
            link.publish(queue, body, PERSISTENT)
            if number % 100 == 99:
                link.turn()  # so that the broker begins while we still publish
            link.await_confirms(fewer_than=window)
        link.await_confirms()

    def seed(self, position: int, bodies: Sequence[bytes], end: int) -> int:
        link, queue, lock = self._opened, self._queue("seed"), self._queue("seed.lock")
        self._lock("seed")
        reached, tag = 0, None
        if link.declare(queue, self._queues[queue]):
            tag, body = link.get(queue)
            reached = int(body)
        if position == reached:
            self.publish(Queue.TASKS, bodies)
            reached = end
        self._publish(queue, [b"%d" % reached])  # before the old one goes: killed here, the next seed finds one of them
        if tag is not None:
            link.acknowledge(tag)
            link.turn()
        link.delete(lock)
        return reached

    # Receiving

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        link = self._opened
        buffer = self._buffer
        wanted = len(self._in_hand) + limit
        if limit and wanted > self._window and self._consume is not None:
            # A prefetch belongs to a consumer and cannot be changed, so a larger window is one consumer more. At least twice
            # as large, because the ledger asks for ever more and consumers should stay few.
            more = min(max(wanted - self._window, self._window), LARGEST_PREFETCH)
            link.consume(self._queue(self._consume), more, self._on_message)
            self._window += more
        link.pump(0.0 if buffer or not limit else timeout, lambda: buffer)
        taken = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        self._in_hand.update(delivery.handle[1] for delivery in taken)
        return taken

    def pause(self) -> None:
        if self._window:
            self.release(())

    def _on_message(self, tag: int, headers: Mapping[str, Any], body: bytes) -> None:
        if remaining := headers.get(REMAINING):
            self._begin(_Settlement(tag), [self._delayed(body, remaining)])
            return
        deliveries = int(headers.get(RELEASED, 0) + headers.get("x-delivery-count", 0)) if headers else 0
        self._buffer.append(Delivery(body, deliveries, (self._generation, tag)))
        self._arrived += 1

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._opened.turn()  # there is no lease; the connection's heartbeat is what we have

    def wait(self, readable: Sequence[int], timeout: float) -> None:
        arrived = self._arrived
        self._opened.pump_with(readable, timeout, lambda: self._arrived != arrived)

    # Settling

    def settle(self, delivery: Delivery, results: Sequence[bytes] = (), retries: Sequence[Delayed] = ()) -> None:
        settlement = _Settlement(self._claim(delivery), results)
        messages = self._results(results)
        if settlement.tag is not None:
            messages += [self._delayed(retry.body, _milliseconds(retry.delay)) for retry in retries]
        self._begin(settlement, messages)

    def flush(self) -> None:
        link = self._opened
        link.await_confirms()
        link.turn()
        tasks = self._queue(Queue.TASKS)
        link.declare(tasks, self._queues[tasks])  # its answer tells that the acknowledgements before it have arrived

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back `deliveries`, and what was sent ahead and never handed out.

        A copy is published, which counts on no version (`basic_nack` counts before 4.0, `basic_reject` since), and the
        original acknowledged. We unsubscribe first, or the copy could come straight back; `receive` subscribes again.
        """
        self._opened.cancel()
        self._window = 0
        self._in_hand.update(delivery.handle[1] for delivery in self._buffer)
        deliveries = [*deliveries, *self._buffer]
        self._buffer.clear()
        for delivery in deliveries:
            headers = {RELEASED: delivery.deliveries} if delivery.deliveries else None
            properties = BasicProperties(delivery_mode=2, headers=headers)
            self._move(delivery, (self._queue(self._consume or Queue.TASKS), delivery.body, properties))
        self.flush()

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        properties = BasicProperties(delivery_mode=2, headers={REASON: shorten(reason)})
        self._move(delivery, (self._queue(Queue.DEAD), delivery.body, properties))
        self.flush()

    def _move(self, delivery: Delivery, message: Message) -> None:
        tag = self._claim(delivery)
        if tag is not None:  # otherwise the broker has given the original to another, who will do the same
            self._begin(_Settlement(tag), [message])

    def _claim(self, delivery: Delivery) -> int | None:
        """The tag by which `delivery` is acknowledged, for the one who asks first; None if it is void."""
        generation, tag = delivery.handle
        if generation != self._generation or tag not in self._in_hand:
            return None
        self._in_hand.remove(tag)
        return int(tag)

    def _begin(self, settlement: _Settlement, messages: Sequence[Message]) -> None:
        """Publish what a settlement consists of; its last confirm finishes it. On a dead link `open` will do it."""

        def confirmed() -> None:
            settlement.unconfirmed -= 1
            if not settlement.unconfirmed:
                self._finish(settlement)

        self._unsettled[settlement] = None
        settlement.unconfirmed = len(messages)
        try:
            for queue, body, properties in messages:
                self._opened.publish(queue, body, properties, confirmed)
            if not messages:
                self._finish(settlement)
        except BrokerError:
            return

    def _finish(self, settlement: _Settlement) -> None:
        if settlement.tag is not None:
            self._opened.acknowledge(settlement.tag)
        self._unsettled.pop(settlement, None)

    def _results(self, results: Iterable[bytes]) -> list[Message]:
        queue = self._queue(Queue.RESULTS)
        return [(queue, body, PERSISTENT) for body in results]

    def _delayed(self, body: bytes, wait: int) -> Message:
        """The message `body` on its way to be ready in `wait` ms: the longest step that is not too long, the rest later."""
        if wait <= 0:
            return self._queue(Queue.TASKS), body, PERSISTENT
        step = max((step for step in self._steps if step <= wait), default=self._steps[0])
        properties = BasicProperties(delivery_mode=2, headers={REMAINING: wait - step}) if wait > step else PERSISTENT
        return self._queue(f"delay.{step}"), body, properties

    # Looking

    def depth(self) -> Depth:
        link = self._opened
        counts = {queue: link.declare(queue, arguments) for queue, arguments in self._queues.items()}
        return Depth(
            ready=counts[self._queue(Queue.TASKS)],
            in_flight=None,
            delayed=sum(counts[self._queue(f"delay.{step}")] for step in self._steps),
            results=counts[self._queue(Queue.RESULTS)],
            dead_letters=counts[self._queue(Queue.DEAD)],
        )


@dataclass(slots=True, eq=False)
class _Settlement:
    """What has to be durable before a delivery is acknowledged.

    Attributes:
        tag: the delivery's tag, None if the delivery is void.
        results: what is published again when the connection broke before they were confirmed.
        unconfirmed: messages of it that are not yet durable.
    """

    tag: int | None
    results: Sequence[bytes] = ()
    unconfirmed: int = 0


def _milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded up: a delay is never cut short. (1.1 * 1000 is a little more than 1,100.)"""
    return math.ceil(round(seconds * 1000, 3))
