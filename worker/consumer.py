"""The loop of a worker: receive, execute, settle.

Each turn settles what was computed and fetches what comes next in one call to the broker, hands it to the child processes,
and then waits for whichever speaks first: a child, the broker, a signal or a deadline. The next chunk is already in a child's
pipe while this one computes, so neither side waits for the other.

A chunk is not acknowledged until its outcome is durable; that is the broker's `settle`, and `_settle` below is the only caller.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from worker import log
from worker.brokers.base import Broker, Delivery, Queue
from worker.config import Settings
from worker.errors import BrokerUnavailable, ForeignMessage, MalformedMessage, TaskError
from worker.executor import Computed, Executor
from worker.messages import Chunk, Result
from worker.outcomes import Sorted, halves, sort
from worker.retry import Failed, reconnecting
from worker.signals import StopSignal
from worker.state import State, StateFile

MAX_WAIT = 1.0
"""Seconds a turn waits at most: a stop, a lease or a child is never noticed later (Sidekiq blocks two)."""

POLL_WHILE_BUSY = 0.1
"""Seconds between two looks for more work by a worker that has room while it computes, where the broker cannot wake it."""

logger = log.get("consumer")


@dataclass(slots=True)
class InHand:
    """A chunk that was received and is not settled. One body delivered again, after a lost connection or lease, is one chunk."""

    chunk: Chunk
    body: bytes
    deliveries: list[Delivery]


def _deliveries(items: Iterable[InHand]) -> list[Delivery]:
    return [delivery for item in items for delivery in item.deliveries]


def sleep_on(readable: Sequence[int], timeout: float) -> None:
    """Wait without a broker, for a descriptor or the time."""
    select.select(readable, [], [], timeout)


class Consumer:
    """One worker. `run` returns when it was asked to stop and has given back what it did not finish.

    Args:
        settings: `run_id`, limits, intervals, names.
        broker: not yet open.
        executors: not yet started; one a child process.
        stamp: what computes (`worker.task.stamp`).
        stop: the flag that ends the loop.
        clock: seconds, monotonic.
        sleep: waits while there is no broker to wait with.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        executors: Sequence[Executor],
        *,
        stamp: str,
        stop: StopSignal,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[Sequence[int], float], None] = sleep_on,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._executors = executors
        self._stamp = stamp
        self._stop = stop
        self._clock = clock
        self._sleep = sleep
        self._worker, self._node = settings.worker, settings.node  # each asks the host for its name
        self._state = StateFile(settings.state_file, clock)
        self._in_hand: dict[int, InHand] = {}  # by the identity of the chunk
        self._computed: list[Computed] = []
        self._alone = False  # what is in hand shall have no company
        self._extended = clock()
        self._reported = clock() - settings.report_seconds  # the first turn says hello

    def run(self) -> None:
        """Work until asked to stop.

        Raises:
            TaskError: the task does not import, or the run wants other code; nothing was lost.
            BrokerRefused: the broker said no.
        """
        for executor in self._executors:
            executor.start()
        try:
            self._connect()
            while not self._stop.requested:
                self.turn()
            self._drain()
        finally:
            for executor in self._executors:
                executor.stop()
            self._broker.close()
            self._state.set(State.GONE)

    def turn(self) -> None:
        """One turn of the loop; it waits at most `MAX_WAIT` seconds."""
        try:
            self._settle_computed()
            self._give_back_from_unready()
            room = self._room()
            if not self._ready():
                self._broker.pause()
            idle = not self._in_hand and room > 0
            for delivery in self._broker.receive(room, min(MAX_WAIT, self._until_due()) if idle else 0.0):
                self._accept(delivery)
            self._report()
            self._extend()
            self._state.set(self._condition(), self._problem())
            if self._in_hand or not room:
                patience = min(self._until_due(), POLL_WHILE_BUSY if self._room() else MAX_WAIT)
                self._broker.wait(self._readable(), patience)
        except BrokerUnavailable as error:
            logger.warning("broker lost", extra={"action": "wait", "error": str(error)})
            self._connect()
        self._poll()

    # --- the broker ---------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Open the broker, for as long as it takes; the children go on computing meanwhile."""
        said = False

        def on_wait(error: BaseException, _seconds: float) -> None:
            nonlocal said
            self._state.set(State.WAITING, str(error))
            if not said:  # once, not at every attempt
                logger.warning("waiting for the broker", extra={"action": "wait", "error": str(error)})
                said = True

        policy = reconnecting(self._idle, lambda: self._stop.requested, on_wait)
        try:
            policy(self._broker.open, Queue.TASKS)
        except BrokerUnavailable:
            if not self._stop.requested:
                raise
            return
        if said:
            logger.info("broker is back", extra={"action": "connect"})

    def _idle(self, seconds: float) -> None:
        """Wait without the broker; whatever the children finish is kept."""
        until = self._clock() + seconds
        while not self._stop.requested and (left := until - self._clock()) > 0:
            self._sleep(self._readable(), min(left, MAX_WAIT))
            self._state.set(State.WAITING)
            self._poll()

    def _accept(self, delivery: Delivery) -> None:
        """Hand one delivery to a child; or settle it here, if it is no chunk of ours or took too many workers down."""
        body = delivery.body
        for item in self._in_hand.values():
            if item.body == body:
                item.deliveries.append(delivery)
                return
        try:
            if len(body) > self._settings.max_message_bytes:
                raise MalformedMessage(f"the message has {len(body)} bytes, more than MAX_MESSAGE_BYTES")
            chunk = Chunk.decode(body, self._settings.run_id)
        except MalformedMessage as error:
            kind = "foreign" if isinstance(error, ForeignMessage) else "malformed"
            logger.error(f"{kind} message set aside", extra={"action": "dead_letter", "error": str(error)})
            self._broker.dead_letter(delivery, str(error))
            return
        if chunk.stamp != self._stamp and not self._settings.accept_changed_code:
            self._broker.release([delivery])
            raise TaskError(
                f"run {chunk.run} was begun with code {chunk.stamp}, and TASK={self._settings.task} here is {self._stamp}; "
                "restore the code, name another run, or set ACCEPT_CHANGED_CODE=true"
            )
        if delivery.deliveries >= self._settings.max_deliveries:
            self._narrow(delivery, chunk)
            return
        if not self._admits(delivery):
            self._broker.release([delivery])
            return
        executor = min(self._ready(), key=lambda executor: len(executor.chunks))
        self._in_hand[id(chunk)] = InHand(chunk, body, [delivery])
        executor.submit(chunk)

    def _admits(self, delivery: Delivery) -> bool:
        """Let a chunk join what is in hand, or not.

        One that would be narrowed at its next loss is computed alone: chunks that a worker has in hand together are lost
        together, and the neighbours of the one that takes workers down would be blamed with it.
        """
        suspect = delivery.deliveries > 0 and delivery.deliveries + 1 >= self._settings.max_deliveries
        if self._in_hand:
            self._alone |= suspect  # no more company until it had its turn
            return not self._alone
        self._alone = suspect
        if suspect:
            self._broker.pause()
        return True

    def _narrow(self, delivery: Delivery, chunk: Chunk) -> None:
        """A chunk that was lost with its worker again and again: split it, or blame the parameter that stands alone."""
        times = f"{delivery.deliveries} times"
        logger.warning(
            "chunk was lost with its worker", extra={"action": "narrow", "chunk": chunk.name, "times": delivery.deliveries}
        )
        if len(chunk) > 1:
            self._broker.settle(delivery, retries=halves(chunk))
            return
        failed = Failed(f"the worker died {times} while it had this parameter in hand")
        self._send([delivery], chunk, sort(chunk, [failed], self._settings.policy), 0.0)

    def _settle_computed(self) -> None:
        while self._computed:
            self._settle(self._computed.pop(0))

    def _settle(self, computed: Computed) -> None:
        """The one place where a chunk that was computed is settled."""
        in_hand = self._in_hand.pop(id(computed.chunk))
        self._send(
            in_hand.deliveries, computed.chunk, sort(computed.chunk, computed.outcomes, self._settings.policy), computed.seconds
        )

    def _send(self, deliveries: Sequence[Delivery], chunk: Chunk, outcomes: Sorted, seconds: float) -> None:
        result = self._result(
            ranges=outcomes.ranges,
            values=outcomes.values,
            dead=outcomes.dead,
            retried=outcomes.retried,
            chunk=chunk.name,
            redelivered=any(delivery.deliveries for delivery in deliveries),
            seconds=seconds,
        )
        *repeated, last = deliveries
        self._broker.settle(last, result.encode_within(self._settings.max_message_bytes), outcomes.retries)
        for delivery in repeated:  # one outcome is enough for all of them
            self._broker.settle(delivery)
        self._reported = self._clock()
        for failure in outcomes.dead:
            logger.error(
                "parameter is dead",
                extra={"action": "dead", "parameter": failure.index, "attempts": failure.attempt, "error": failure.error},
            )

    # --- duties while computing ---------------------------------------------------------------------------------------

    def _report(self) -> None:
        """A sign of life, when no result has carried one for a while."""
        if self._clock() - self._reported >= self._settings.report_seconds:
            self._reported = self._clock()
            self._broker.publish(Queue.RESULTS, [self._result().encode()])

    def _extend(self) -> None:
        """Renew the leases every third of their length."""
        if self._clock() - self._extended >= self._settings.lease_seconds / 3:
            self._extended = self._clock()
            self._broker.extend(_deliveries(self._in_hand.values()))

    def _give_back_from_unready(self) -> None:
        """Chunks whose child lost its readiness go back; the executor tries `setup()` again by itself."""
        for executor in self._executors:
            if executor.problem and executor.chunks:
                logger.error("task is not ready", extra={"action": "unready", "error": executor.problem})
                self._give_back(executor.withdraw())

    def _give_back(self, chunks: Iterable[Chunk]) -> None:
        self._broker.release(_deliveries([self._in_hand.pop(id(chunk)) for chunk in chunks]))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Give back what was not begun, finish what was if the grace period allows, give back the rest, say goodbye."""
        deadline = self._clock() + self._settings.grace_seconds
        logger.info("draining", extra={"action": "drain", "chunks": len(self._in_hand)})
        self._state.set(State.DRAINING)
        try:
            self._broker.pause()
            self._settle_computed()
            for executor in self._executors:
                self._give_back(list(executor.chunks)[1 if executor.started else 0 :])
            while self._in_hand and (left := deadline - self._clock()) > 0:
                self._broker.wait(self._children(), min(left, self._until_due()))
                self._poll()
                self._settle_computed()
                self._broker.receive(0, 0.0)
                self._report()
                self._extend()
            for executor in self._executors:
                self._keep(executor.cancel())
            untouched = [item for item in self._computed if not any(item.outcomes)]
            self._give_back(item.chunk for item in untouched)
            self._computed = [item for item in self._computed if any(item.outcomes)]
            self._settle_computed()
            self._broker.publish(Queue.RESULTS, [self._result(state=State.GONE).encode()])
            self._broker.flush()
        except BrokerUnavailable as error:  # whatever is still ours goes to others without our help
            logger.warning("left without the broker", extra={"action": "drain", "error": str(error)})

    # --- what the loop knows ------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        for executor in self._executors:
            self._keep(executor.poll())

    def _keep(self, computed: Iterable[Computed]) -> None:
        """Remember what a child finished, unless it was given back meanwhile."""
        self._computed += [item for item in computed if id(item.chunk) in self._in_hand]

    def _room(self) -> int:
        """How many more chunks may be taken."""
        if self._alone and self._in_hand:
            return 0
        return max(self._settings.prefetch * len(self._ready()) - len(self._in_hand), 0)

    def _ready(self) -> list[Executor]:
        """The children that chunks may be given to."""
        return [executor for executor in self._executors if executor.ready]

    def _until_due(self) -> float:
        """Seconds until a report, a lease or a time limit wants attention, at most `MAX_WAIT`."""
        now = self._clock()
        due = [now + MAX_WAIT, self._reported + self._settings.report_seconds]
        if self._in_hand:
            due.append(self._extended + self._settings.lease_seconds / 3)
        due += [deadline for executor in self._executors if (deadline := executor.deadline()) is not None]
        return max(min(due) - now, 0.0)

    def _children(self) -> list[int]:
        return [executor.fileno() for executor in self._executors]

    def _readable(self) -> list[int]:
        return [*self._children(), self._stop.fileno()]

    def _problem(self) -> str:
        return next((executor.problem for executor in self._executors if executor.problem), "")

    def _condition(self) -> State:
        """Ready as soon as one child is."""
        if self._ready():
            return State.READY
        return State.UNREADY if self._problem() else State.STARTING

    def _result(self, **outcomes: Any) -> Result:
        outcomes.setdefault("state", self._condition())
        return Result(
            run=self._settings.run_id,
            stamp=self._stamp,
            worker=self._worker,
            node=self._node,
            computing=[item.chunk.name for item in self._in_hand.values()],
            **outcomes,
        )
