"""When to repair, and what is published then."""

from __future__ import annotations

from scripts.repair import Patience, Repair
from scripts.tally import DEAD, DONE, RETRIED, Cells
from tests.memory_broker import MemoryBroker, MemoryServer
from tests.unit.ledgers import run_of, settings_of, space_of
from worker.brokers.base import Depth, Queue
from worker.messages import Chunk
from worker.space import Ranges

EMPTY = Depth(ready=0, in_flight=0, delayed=0, results=0, dead_letters=0)
TOTAL = 100


def patience() -> Patience:
    return Patience(quiet=10.0, lease=5.0, now=0.0)


def test_repair_waits_for_the_quiet_time() -> None:
    waiting = patience()
    assert not waiting.is_over(9.9, 0.0, 0, EMPTY, held=0)
    assert waiting.is_over(10.0, 0.0, 0, EMPTY, held=0)


def test_an_outcome_of_any_kind_is_movement() -> None:
    waiting = patience()
    assert not waiting.is_over(12.0, 3.0, 0, EMPTY, held=0)
    assert waiting.is_over(13.0, 3.0, 0, EMPTY, held=0)


def test_there_is_no_repair_while_the_broker_has_work() -> None:
    for depth in (Depth(1, 0, 0, 0, 0), Depth(0, 0, 1, 0, 0)):
        waiting = patience()
        assert not waiting.is_over(50.0, 0.0, 0, depth, held=0)
        assert not waiting.is_over(59.0, 0.0, 0, EMPTY, held=0)
        assert waiting.is_over(60.0, 0.0, 0, EMPTY, held=0)


def test_signs_of_life_on_their_way_do_not_put_off_a_repair() -> None:
    assert patience().is_over(10.0, 0.0, 0, Depth(0, 0, 0, 1, 0), held=0)


def test_what_died_with_its_worker_is_given_the_lease_to_come_back() -> None:
    in_flight = Depth(0, 2, 0, 0, 0)
    assert not patience().is_over(12.0, 0.0, 0, in_flight, held=1)
    assert patience().is_over(15.0, 0.0, 0, in_flight, held=1)
    assert patience().is_over(12.0, 0.0, 0, in_flight, held=2)


def test_a_repair_that_brings_nothing_doubles_the_quiet_time_and_progress_resets_it() -> None:
    waiting = patience()
    waiting.repaired(100.0)
    assert not waiting.is_over(119.0, 0.0, 0, EMPTY, held=0)
    assert waiting.is_over(120.0, 0.0, 0, EMPTY, held=0)
    waiting.repaired(200.0)
    assert not waiting.is_over(239.0, 0.0, 0, EMPTY, held=0)
    assert not waiting.is_over(239.0, 230.0, 1, EMPTY, held=0)
    assert waiting.is_over(240.0, 230.0, 1, EMPTY, held=0)


def test_the_missing_are_published_again_as_chunks_of_the_first_attempt() -> None:
    server = seeded()
    repair(server, cells({DONE: range(25), RETRIED: range(60, 62), DEAD: range(70, 80)}))
    assert published(server) == [(25, 35), (35, 45), (45, 55), (55, 65), (65, 70), (80, 90), (90, 100)]


def test_what_live_workers_hold_is_left_to_them() -> None:
    server = seeded()
    repair(server, cells({DONE: range(40)}), held=((45, 50), (90, 200)))
    assert published(server) == [(40, 45), (50, 60), (60, 70), (70, 80), (80, 90)]


def test_a_seed_that_comes_late_publishes_nothing_a_second_time() -> None:
    server = MemoryServer(position=30)
    repair(server, cells({}))
    assert server.position == TOTAL
    assert published(server)[:4] == [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert sum(stop - start for start, stop in published(server)) == TOTAL


def test_a_seed_that_overtakes_is_not_repeated() -> None:
    server = MemoryServer(position=0)
    broker = MemoryBroker(server)
    started = Repair(settings_of(TOTAL), run_of(TOTAL), space_of(TOTAL), broker, cells({}), ())
    MemoryBroker(server).seed(0, [b"the seed's own"], 60)
    while not started.is_finished:
        started.go_on()
    assert published(server, skip=1) == [(60, 70), (70, 80), (80, 90), (90, 100)]


def test_a_broker_that_loses_everything_in_the_middle_of_a_repair_is_seeded_from_the_beginning() -> None:
    server = MemoryServer(position=30)
    started = Repair(settings_of(TOTAL), run_of(TOTAL), space_of(TOTAL), MemoryBroker(server), cells({}), ())
    server.lose_everything()
    for _ in range(3):
        if not started.is_finished:
            started.go_on()
    assert started.is_finished
    assert server.position == TOTAL
    assert {start for start, _stop in published(server)} == set(range(0, TOTAL, 10))


def cells(states: dict[int, range]) -> Cells:
    content = bytearray(TOTAL)
    for state, indices in states.items():
        for index in indices:
            content[index] = state
    return Cells(content)


def seeded() -> MemoryServer:
    return MemoryServer(position=TOTAL)


def repair(server: MemoryServer, missing: Cells, held: Ranges = ()) -> None:
    started = Repair(settings_of(TOTAL), run_of(TOTAL), space_of(TOTAL), MemoryBroker(server), missing, held)
    while not started.is_finished:
        started.go_on()


def published(server: MemoryServer, skip: int = 0) -> list[tuple[int, int]]:
    chunks = [Chunk.decode(body, "test") for body in server.bodies(Queue.TASKS)[skip:]]
    assert {chunk.attempt for chunk in chunks} <= {1}
    return [chunk.ranges[0] for chunk in chunks]
