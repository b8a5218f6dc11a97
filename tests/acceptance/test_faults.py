"""What the main job withstands: the real programs, killed, frozen and restarted, on both brokers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from scripts.embedded import RabbitMQServer, RedisServer
from scripts.processes import Program
from tests.acceptance.run import Run, squares
from tests.waiting import PATIENCE, eventually
from worker.brokers import Broker, Queue
from worker.messages import Chunk
from worker.signals import EXIT_SECOND_SIGNAL
from worker.space import Count

NewRun = Callable[..., Run]


def test_a_run_completes(new_run: NewRun) -> None:
    with new_run(count=995) as run:
        run.seed()
        run.ledger()
        workers = [run.worker() for _ in range(2)]
        status = run.complete()
        assert run.values() == squares(995)
        assert (status["total"], status["done"], status["dead"], status["missing"]) == (995, 995, 0, 0)
        assert (status["duplicates"], status["disagreements"]) == (0, 0)
        for worker in workers:
            worker.signal(signal.SIGTERM)
            assert worker.process.wait(PATIENCE) == 0


def test_a_worker_killed_while_it_computes_costs_only_what_it_had_in_hand(new_run: NewRun) -> None:
    with new_run(count=100, task="held_square") as run:
        run.ledger()
        run.seeded()
        victim = run.worker()
        run.begun()
        victim.signal(signal.SIGKILL)
        run.let_go()
        run.worker()
        run.complete()
        assert run.values() == squares(100)
        assert set(run.attempts()) == {(index, 1) for index in range(100)}  # a lost worker is no attempt


def test_all_workers_killed_at_once(new_run: NewRun) -> None:
    with new_run(count=300, task="slow_square") as run:
        run.ledger()
        run.seeded()
        workers = [run.worker() for _ in range(3)]
        run.until(lambda status: status["done"] >= 50)
        for worker in workers:
            worker.signal(signal.SIGKILL)
        run.worker()
        run.complete()
        assert run.values() == squares(300)


def test_an_idle_worker_killed_costs_nothing(new_run: NewRun) -> None:
    with new_run(count=100) as run:
        run.ledger()
        idle = run.worker()
        run.until(lambda status: any(worker["state"] == "ready" for worker in status.get("workers", [])))
        idle.signal(signal.SIGKILL)
        idle.process.wait()
        run.worker()
        run.seeded()
        run.complete()
        assert run.values() == squares(100)
        assert len(run.calls()) == 100


def test_a_worker_killed_between_result_and_acknowledgement_makes_a_duplicate_and_no_harm(new_run: NewRun) -> None:
    with new_run(count=10) as run:
        run.ledger()
        run.seeded()
        victim = run._start("tests.acceptance.dying_worker", {})
        assert victim.process.wait(PATIENCE) == -signal.SIGKILL
        run.until(lambda status: status["done"] == 10)
        run.worker()
        status = run.until(lambda status: status["duplicates"] == 10)
        assert status["disagreements"] == 0
        assert run.values() == squares(10)


def test_a_seed_killed_again_and_again_leaves_no_gap(new_run: NewRun) -> None:
    count = 60_000
    with new_run(count=count, CHUNK_SIZE="1") as run:
        run.ledger(REPAIR_SECONDS="3600")  # what is asserted is the seed's doing, not repair's
        with_broker = run.broker()
        with_broker.open()
        for _ in range(3):
            before = with_broker.depth().ready
            seed = run.seed()
            eventually(partial(_seeds_more_than, with_broker, seed, before))
            seed.signal(signal.SIGKILL)
            seed.process.wait()
        run.seeded()
        run.seeded()
        with_broker.close()
        run.worker(PREFETCH="64")
        run.worker(PREFETCH="64")
        run.complete()
        assert len(run.values()) == count


def _seeds_more_than(broker: Broker, seed: Program, before: int) -> bool:
    return broker.depth().ready > before or seed.process.poll() == 0


def test_two_seeds_at_once_leave_no_gap(new_run: NewRun) -> None:
    with new_run(count=50_000, CHUNK_SIZE="5") as run:
        run.ledger(REPAIR_SECONDS="3600")
        seeds = [run.seed(), run.seed()]
        assert [seed.process.wait(PATIENCE) for seed in seeds] == [0, 0]
        run.worker(PREFETCH="16")
        run.complete()
        assert len(run.values()) == 50_000


def test_a_ledger_killed_again_and_again_forgets_nothing(new_run: NewRun) -> None:
    with new_run(count=2_000, task="slow_square") as run:
        run.seeded()
        for _ in range(2):
            run.worker()
        for floor in (100, 400, 800):
            ledger = run.ledger()
            run.until(partial(_done_at_least, floor))
            ledger.signal(signal.SIGKILL)
            ledger.process.wait()
        run.ledger()
        status = run.complete()
        assert run.values() == squares(2_000)
        assert len(run.calls()) == 2_000  # nothing was computed twice on the ledger's account
        assert status["disagreements"] == 0


def _done_at_least(floor: int, status: dict[str, Any]) -> bool:
    return bool(status["done"] >= floor)


def test_a_worker_frozen_beyond_its_lease_does_no_harm_when_it_wakes_up(new_run: NewRun) -> None:
    with new_run(count=40, task="held_square") as run:
        run.ledger()
        run.seeded()
        frozen = run.worker()
        run.begun()
        os.killpg(frozen.process.pid, signal.SIGSTOP)  # the child with it
        run.let_go()
        run.worker()
        status = run.complete()
        assert run.values() == squares(40)
        os.killpg(frozen.process.pid, signal.SIGCONT)
        frozen.signal(signal.SIGTERM)
        assert frozen.process.wait(PATIENCE) == 0
        after = run.until(lambda status: any(worker["state"] == "gone" for worker in status.get("workers", [])))
        assert (after["done"], after["dead"], after["disagreements"]) == (status["done"], 0, 0)
        assert run.values() == squares(40)


def test_sigterm_lets_the_current_chunk_finish(new_run: NewRun) -> None:
    with new_run(count=20, task="held_square") as run:
        run.ledger()
        run.seeded()
        worker = run.worker()
        (first, *_) = run.begun()
        worker.signal(signal.SIGTERM)
        eventually(lambda: "draining" in worker.log.read_text())
        run.let_go()
        assert worker.process.wait(PATIENCE) == 0
        done = run.until(lambda status: status["done"] == 10)
        assert done["duplicates"] == 0
        assert first in run.values()
        run.worker()
        run.complete()
        assert run.values() == squares(20)
        assert {attempt for _, attempt in run.attempts()} == {1}


def test_sigterm_without_grace_gives_back_with_the_attempt_unchanged(new_run: NewRun) -> None:
    with new_run(count=10, task="held_square", LEASE_SECONDS="3600") as run:
        run.ledger()
        run.seeded()
        worker = run.worker(GRACE_SECONDS="0")
        (first, *_) = run.begun()
        run.let_go(first)
        run.begun(2)
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(PATIENCE) == 0
        assert run.until(lambda status: status["done"] == 1)["retried"] == 0  # what was finished is kept
        run.let_go()
        run.worker()
        run.complete()
        assert run.values() == squares(10)
        assert {attempt for _, attempt in run.attempts()} == {1}


def test_a_second_sigterm_exits_at_once(new_run: NewRun) -> None:
    with new_run(count=10, task="held_square", LEASE_SECONDS="1") as run:
        run.ledger()
        run.seeded()
        worker = run.worker()
        run.begun()
        worker.signal(signal.SIGTERM)
        eventually(lambda: "draining" in worker.log.read_text())
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(PATIENCE) == EXIT_SECOND_SIGNAL
        run.let_go()
        run.worker()
        run.complete()
        assert run.values() == squares(10)


@pytest.mark.parametrize("empty", [False, True], ids=["with its data", "empty"])
def test_the_broker_is_restarted_in_the_middle(new_run: NewRun, server: RedisServer | RabbitMQServer, empty: bool) -> None:
    with new_run(count=1_000, task="slow_square") as run:
        run.ledger()
        run.seeded()
        for _ in range(2):
            run.worker()
        run.until(lambda status: status["done"] >= 200)
        server.restart(empty=empty)
        status = run.complete()
        assert run.values() == squares(1_000)
        assert status["disagreements"] == 0
        assert all(program.process.poll() in (None, 0) for program in run.programs)


def test_the_broker_comes_after_the_programs(new_run: NewRun, server: RedisServer | RabbitMQServer) -> None:
    with new_run(count=50) as run:
        server.stop()
        run.ledger()
        run.seed()
        worker = run.worker()
        eventually(lambda: "waiting for the broker" in worker.log.read_text())
        server.start()
        run.complete()
        assert run.values() == squares(50)
        assert worker.log.read_text().count("waiting for the broker") == 1


def test_strange_messages_are_set_aside_and_the_work_goes_on(new_run: NewRun) -> None:
    with new_run(count=50) as run:
        broker = run.broker()
        broker.open()
        chunk = Chunk("another", "x", Count(), ((0, 1),))
        newer = Chunk(run.environment["RUN_ID"], "x", Count(), ((0, 1),)).encode().replace(b'"schema":1', b'"schema":99')
        strange = [b"", b"\x00\xff\xfe", b"{}", chunk.encode(), newer, b"9" * (8 * 2**20 + 1)]
        broker.publish(Queue.TASKS, strange)
        run.ledger()
        run.seeded()
        worker = run.worker()
        broker.publish(Queue.RESULTS, [b"", b"nonsense", b'{"schema":1}'])
        run.complete()
        eventually(lambda: broker.depth().dead_letters == len(strange) + 3)
        broker.close()
        assert run.values() == squares(50)
        assert worker.process.poll() is None
        assert worker.log.read_text().count("message set aside") == len(strange)


def test_duplicated_and_reordered_results_have_one_effect(new_run: NewRun) -> None:
    with new_run(count=200) as run:
        run.seeded()
        run.worker()
        broker = run.broker()
        broker.open(Queue.RESULTS)
        bodies: list[bytes] = []
        while sum(body.count(b"\n") for body in bodies) < 200:
            for delivery in broker.receive(100, 1.0):
                bodies.append(delivery.body)
                broker.settle(delivery)
        broker.flush()
        broker.close()
        broker = run.broker()
        broker.open()
        broker.publish(Queue.RESULTS, [*reversed(bodies), *bodies, *reversed(bodies)])
        broker.close()
        run.ledger()
        status = run.until(lambda status: status["duplicates"] == 400)
        assert (status["done"], status["dead"], status["disagreements"], status["state"]) == (200, 0, 0, "complete")
        assert run.values() == squares(200)


def test_two_runs_on_one_broker_do_not_mix(new_run: NewRun) -> None:
    with new_run(count=300) as one, new_run(count=200, task="noise") as two:
        for run in (one, two):
            run.ledger()
            run.seed()
            run.worker()
        one.complete()
        two.complete()
        assert one.values() == squares(300)
        assert len(two.values()) == 200
        assert one.status()["duplicates"] == two.status()["duplicates"] == 0


def test_a_seeded_function_gives_the_same_values_for_any_chunk_size(new_run: NewRun) -> None:
    with new_run(count=100, task="noise", CHUNK_SIZE="7") as one, new_run(count=100, task="noise", CHUNK_SIZE="33") as two:
        for run in (one, two):
            run.ledger()
            run.seed()
            run.worker()
        one.complete()
        two.complete()
        assert one.values() == two.values()
        assert len(set(one.values().values())) == 100
