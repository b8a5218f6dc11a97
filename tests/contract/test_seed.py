"""Seeding: every chunk is in the queue, however often and by however many seeds it was tried."""

from __future__ import annotations

import threading
from contextlib import suppress

from tests.contract.conftest import Programs
from tests.contract.steps import bodies, reopen, take
from worker.brokers import Broker, Queue
from worker.errors import BrokerUnavailable

CHUNKS = [b"chunk %d" % number for number in range(200)]


def seed_on(broker: Broker, step: int, end: int) -> None:
    """Publish `CHUNKS` up to `end` from where the broker stands, `step` at a time, one parameter a chunk."""
    position = broker.seed(0, [], 0)
    while position < end:
        stop = min(position + step, end)
        position = broker.seed(position, CHUNKS[position:stop], stop)


def seeded(programs: Programs) -> list[bytes]:
    """What is in the queue."""
    worker = programs.broker(Queue.TASKS)
    taken = []
    while batch := worker.receive(len(CHUNKS), 0.5):
        taken += batch
    return bodies(taken)


def test_nothing_is_seeded_at_first(programs: Programs) -> None:
    assert programs.broker().seed(0, [], 0) == 0


def test_seeding_tells_the_position_reached(programs: Programs) -> None:
    seed = programs.broker()

    assert seed.seed(0, [b"0-49", b"50-99"], 100) == 100
    assert seed.seed(0, [], 0) == 100
    seed.close()
    assert programs.broker().seed(0, [], 0) == 100


def test_seeding_again_publishes_nothing(programs: Programs) -> None:
    first = programs.broker()
    seed_on(first, 50, len(CHUNKS))
    assert first.seed(0, CHUNKS[:50], 50) == len(CHUNKS)
    first.close()

    assert programs.broker().seed(150, CHUNKS[150:], 200) == len(CHUNKS)

    assert seeded(programs) == CHUNKS


def test_a_seed_that_is_ahead_publishes_nothing(programs: Programs) -> None:
    seed = programs.broker()

    assert seed.seed(50, CHUNKS[50:100], 100) == 0
    assert seeded(programs) == []


def test_a_window_of_which_nothing_is_missing_is_passed(programs: Programs) -> None:
    seed = programs.broker()

    assert seed.seed(0, [], 50) == 50
    assert seed.seed(50, CHUNKS[50:100], 100) == 100
    assert seeded(programs) == CHUNKS[50:100]


def test_another_seed_goes_on_where_one_ended_half_way(programs: Programs) -> None:
    first = programs.broker()
    seed_on(first, 30, 120)
    first.close()

    seed_on(programs.broker(), 50, len(CHUNKS))

    assert seeded(programs) == CHUNKS


def test_two_seeds_at_once_leave_no_gap(programs: Programs) -> None:
    seeds = [threading.Thread(target=seed_through, args=(programs.unopened(), step)) for step in (7, 11)]
    for seed in seeds:
        seed.start()
    for seed in seeds:
        seed.join()

    assert sorted(seeded(programs)) == sorted(CHUNKS)


def seed_through(broker: Broker, step: int) -> None:
    """As the program does it: a broker that is not to be had just now, because of the other seed say, is waited for."""
    while True:
        reopen(broker)
        with suppress(BrokerUnavailable):
            seed_on(broker, step, len(CHUNKS))
            break
    broker.close()


def test_what_was_seeded_is_delivered_like_any_other_task(programs: Programs) -> None:
    programs.broker().seed(0, [b"seeded"], 1)
    worker = programs.broker(Queue.TASKS)

    (delivery,) = take(worker, 1)
    worker.settle(delivery, results=[b"result"])
    worker.flush()

    assert bodies(take(programs.broker(Queue.RESULTS), 1)) == [b"result"]
