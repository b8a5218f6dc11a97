"""Planted defects: mistakes that a system of this kind is known for, each of which the suite must be able to catch.

A defect is planted in the processes of a trial (`tests.faults.program`), never in the repository. `SHOWN_BY` has the schedule
that brings it to light; the same schedule without the defect is clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.faults.points import REDIS
from tests.faults.schedule import BROKER, LEDGER, SEED, Fault, Kind, Moment, Schedule

DEFECTS: dict[str, Callable[[], None]] = {}
"""By name: plants the defect in the modules of this process."""
SHOWN_BY: dict[str, Schedule] = {}


def plant(name: str) -> None:
    """Plant the defect `name` in this process."""
    DEFECTS[name]()


def shown_by(backend: str, *faults: Fault, **run: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Names a defect after the function that plants it; `run`: how its schedule differs from `Schedule`'s defaults."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        name = function.__name__.replace("_", " ")
        DEFECTS[name] = function
        SHOWN_BY[name] = replace(Schedule(backend, 900_000 + len(SHOWN_BY), faults), **run)
        return function

    return register


def instead_of(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """Puts a function in the place of `owner.name`; it is given the original, and then what that is called with."""

    def put(function: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: function(original, *args, **kwargs))

    return put


def plant_for_good(name: str) -> None:
    """Plant a defect that `tests.model.defects` has too, for the rest of this process."""
    from tests.model import defects

    vars(defects)[name]().__enter__()


def edit_script(name: str, old: bytes, new: bytes) -> None:
    """Change a Lua script as it is sent to Redis."""
    from worker.brokers import redis_streams

    script = vars(redis_streams)[name.upper()]
    assert old in script.source, f"{name}.lua has changed: {old!r} is not in it"
    script.source = script.source.replace(old, new)
    script.digest = hashlib.sha1(script.source, usedforsecurity=False).hexdigest()


class Between:
    """Points to be killed at, between two steps of a defect."""

    @staticmethod
    def acknowledgement_and_result() -> None: ...

    @staticmethod
    def position_and_chunks() -> None: ...


def at(program: str, point: str, nth: int = 1, *, after: bool = False) -> Moment:
    return Moment(program=program, point=point, nth=nth, after=after)


ACKNOWLEDGED = at("worker-1", "tests.faults.defects:Between.acknowledgement_and_result", 2)


@shown_by("redis", Fault(Kind.KILL, "worker-1", ACKNOWLEDGED), workers=1)
def a_worker_acknowledges_before_its_result_is_durable() -> None:
    from worker.brokers import Queue
    from worker.consumer import Consumer

    class AcknowledgeFirst:
        def __init__(self, broker: Any) -> None:
            self._broker = broker

        def settle(self, delivery: Any, results: Sequence[bytes] = (), retries: Sequence[Any] = ()) -> None:
            self._broker.settle(delivery, (), retries)
            self._broker.flush()
            Between.acknowledgement_and_result()
            self._broker.publish(Queue.RESULTS, results)

    @instead_of(Consumer, "_send")
    def send(original: Callable[..., None], self: Any, *arguments: Any) -> None:
        broker, self._broker = self._broker, AcknowledgeFirst(self._broker)
        original(self, *arguments)
        self._broker = broker


@shown_by("rabbitmq", Fault(Kind.KILL, "worker-1", ACKNOWLEDGED), workers=1)
def a_worker_acknowledges_before_its_result_is_durable_on_rabbitmq() -> None:
    a_worker_acknowledges_before_its_result_is_durable()


@shown_by("redis", Fault(Kind.KILL, LEDGER, at(LEDGER, "scripts.intake:Intake.take", 2)))
def the_ledger_settles_before_its_commit() -> None:
    plant_for_good("settle_before_the_commit")


@shown_by("rabbitmq", Fault(Kind.TERM, "worker-1", Moment(0.7)), pace=0.02, workers=1, prefetch=3)
def a_drained_worker_drops_what_it_has_in_hand() -> None:
    plant_for_good("drop_instead_of_giving_back")


@shown_by("rabbitmq", Fault(Kind.KILL, "worker-1", Moment(0.7)), pace=0.02, workers=1)
def a_chunk_that_was_lost_with_its_worker_is_taken_for_done() -> None:
    from worker.consumer import Consumer

    @instead_of(Consumer, "_accept")
    def accept(original: Callable[..., None], self: Any, delivery: Any) -> None:
        if delivery.deliveries:
            self._broker.settle(delivery)
        else:
            original(self, delivery)


@shown_by("redis", Fault(Kind.FREEZE, "worker-1", at("worker-1", "worker.consumer:Consumer._settle", 2), 2.5), prefetch=1)
def the_settlement_of_a_worker_that_overslept_is_not_refused() -> None:
    edit_script(
        "take",
        b"local first = redis.call('XACK', stream, group, id) == 1",
        b"redis.call('XACK', stream, group, id)\n  local first = true",
    )


@shown_by(
    "redis",
    Fault(Kind.FREEZE, LEDGER, at(LEDGER, f"{REDIS}.open"), 1.5),
    Fault(Kind.FREEZE, "worker-1", at("worker-1", f"{REDIS}.open"), 1.5),
    workers=1,
)
def a_consumer_makes_its_group_at_the_end_of_the_stream() -> None:
    from worker.brokers.redis_streams import RedisStreams

    edit_script("make_groups", b"group, '0'", b"group, '$'")

    @instead_of(RedisStreams, "open")
    def open_(original: Callable[..., None], self: Any, consume: Any = None) -> None:
        if consume is None:  # a seed is no consumer
            self._make_groups = lambda _client: None
        original(self, consume)


@shown_by("redis", Fault(Kind.KILL, SEED, at(SEED, "tests.faults.defects:Between.position_and_chunks", 2)))
def the_seed_moves_its_position_before_the_chunks_are_there() -> None:
    from worker.brokers import Queue
    from worker.brokers.redis_streams import RedisStreams

    edit_script("seed", b"reached == ARGV[2]", b"false")  # so that a position without chunks is moved too

    @instead_of(RedisStreams, "seed")
    def seed(original: Callable[..., int], self: Any, position: int, bodies: Sequence[bytes], end: int) -> int:
        if not bodies:
            return original(self, position, bodies, end)
        reached = original(self, position, [], end)
        Between.position_and_chunks()
        self.publish(Queue.TASKS, bodies)
        return reached


@shown_by("redis")
def a_failed_parameter_is_not_tried_again() -> None:
    plant_for_good("forget_retries")


@shown_by("redis")
def a_delayed_retry_is_removed_and_not_promoted() -> None:
    edit_script("take", b"redis.call('XADD', tasks, '*', 'body', string.sub(", b"string.format('%s', string.sub(")


@shown_by("redis")
def the_attempt_limit_is_off_by_one() -> None:
    import worker.outcomes

    @instead_of(worker.outcomes, "decide")
    def decide(original: Callable[..., float | None], failed: Any, attempt: int, policy: Any) -> float | None:
        return original(failed, attempt, replace(policy, max_attempts=policy.max_attempts + 1))


@shown_by("redis")
def a_parameter_that_kills_its_process_once_is_given_up() -> None:
    from worker.executor import _Work
    from worker.retry import Failed

    @instead_of(_Work, "blame")
    def blame(original: Callable[..., None], self: Any, start: int, stop: int, reason: str) -> None:
        original(self, start, stop, reason)
        self.computed.outcomes[start] = Failed(reason, final=True)


@shown_by("redis", Fault(Kind.KILL, "child-1", Moment(0.7)), workers=1, prefetch=3, pace=0.02)
def the_chunks_behind_the_one_that_a_child_died_of_are_forgotten() -> None:
    from worker.executor import Executor

    @instead_of(Executor, "_replace")
    def replace_(original: Callable[..., None], self: Any, child: Any) -> None:
        while len(self._work) > 1:
            self._work.pop()
        original(self, child)


@shown_by("redis", Fault(Kind.CUT, "worker-1", Moment(0.7)), workers=1, pace=0.02)
def a_worker_that_lost_its_connection_forgets_its_chunks_and_keeps_their_leases() -> None:
    from worker.consumer import Consumer

    @instead_of(Consumer, "_connect")
    def connect(original: Callable[..., None], self: Any) -> None:
        original(self)
        for executor in self._executors:
            executor.withdraw()


@shown_by("redis", Fault(Kind.KILL, LEDGER, at(LEDGER, "scripts.intake:Intake.take", 2, after=True)))
def a_result_that_comes_again_is_counted_again() -> None:
    from scripts import ledger

    @instead_of(ledger, "status")
    def status(
        original: Callable[..., dict[str, Any]], specification: Any, tally: Any, now: float, **rest: Any
    ) -> dict[str, Any]:
        said = original(specification, tally, now, **rest)
        return said | {"done": said["done"] + tally.counters.duplicates}


@shown_by("redis", Fault(Kind.WIPE, BROKER, Moment(0.7)), pace=0.02, count=120)
def repair_leaves_out_the_last_quarter() -> None:
    from scripts.tally import Cells

    @instead_of(Cells, "missing_ranges")
    def missing_ranges(original: Callable[..., Any], self: Any, start: int, stop: int, **rest: Any) -> Any:
        return original(self, start, min(stop, len(self) * 3 // 4), **rest)
