"""Defects to plant in the programs: what the exploration must be able to notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from unittest.mock import patch

from scripts.intake import Intake
from scripts.ledger import Ledger
from scripts.repair import Patience
from scripts.tally import DEAD, Cells
from worker.brokers.base import Delivery, Queue
from worker.consumer import Consumer
from worker.messages import Chunk, Failure
from worker.outcomes import Sorted, sort
from worker.retry import Failed, Policy

Planted = AbstractContextManager[object]
"""The defect is there for as long as this lasts."""


def acknowledge_on_receipt() -> Planted:
    accept = Consumer._accept

    def accept_and_settle(consumer: Consumer, delivery: Delivery) -> None:
        accept(consumer, delivery)
        consumer._broker.settle(delivery)

    return patch.object(Consumer, "_accept", accept_and_settle)


def acknowledge_before_the_result() -> Planted:
    def send(consumer: Consumer, deliveries: Sequence[Delivery], chunk: Chunk, outcomes: Sorted, _seconds: float) -> None:
        for delivery in deliveries:
            consumer._broker.settle(delivery, retries=outcomes.retries)
        consumer._broker.flush()
        result = consumer._result(ranges=outcomes.ranges, values=outcomes.values, dead=outcomes.dead, chunk=chunk.name)
        consumer._broker.publish(Queue.RESULTS, [result.encode()])

    return patch.object(Consumer, "_send", send)


def settle_before_the_commit() -> Planted:
    take = Ledger._take

    def settle_and_take(ledger: Ledger, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            ledger._broker.settle(delivery)
        ledger._broker.flush()
        take(ledger, deliveries)

    return patch.object(Ledger, "_take", settle_and_take)


def drop_instead_of_giving_back() -> Planted:
    def drop(consumer: Consumer, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            for delivery in consumer._in_hand.pop(id(chunk)).deliveries:
                consumer._broker.settle(delivery)

    return patch.object(Consumer, "_give_back", drop)


def forget_retries() -> Planted:
    def sort_and_forget(chunk: Chunk, outcomes: Sequence[str | Failed | None], policy: Policy) -> Sorted:
        return replace(sort(chunk, outcomes, policy), retries=[])

    return patch("worker.consumer.sort", sort_and_forget)


def try_for_ever() -> Planted:
    return patch("worker.outcomes.decide", lambda failed, _attempt, _policy: None if failed.final else 0.0)


def forget_what_was_computed_when_the_broker_is_lost() -> Planted:
    connect = Consumer._connect

    def connect_and_forget(consumer: Consumer) -> None:
        connect(consumer)
        consumer._computed.clear()

    return patch.object(Consumer, "_connect", connect_and_forget)


def remember_what_the_disk_refused() -> Planted:
    return patch.object(Cells, "revert", Cells.keep)


def bury_what_has_a_value() -> Planted:
    def dead(intake: Intake, failure: Failure) -> None:
        intake._store.insert_dead(failure.index, failure.error, failure.attempt)
        intake._tally.cells.fill(failure.index, failure.index + 1, DEAD)

    return patch.object(Intake, "_dead", dead)


def never_repair() -> Planted:
    return patch.object(Patience, "is_over", lambda *_arguments: False)


DEFECTS: list[Callable[[], Planted]] = [
    acknowledge_on_receipt,
    acknowledge_before_the_result,
    settle_before_the_commit,
    drop_instead_of_giving_back,
    forget_retries,
    try_for_ever,
    forget_what_was_computed_when_the_broker_is_lost,
    remember_what_the_disk_refused,
    bury_what_has_a_value,
    never_repair,
]
