"""Messages on their way: received, settled, given back, delayed, set aside."""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import replace

import pytest

from tests.contract.conftest import Kind, Programs
from tests.contract.steps import assert_empty, bodies, take, take_one
from tests.waiting import eventually
from worker.brokers import Delayed, Depth, Queue
from worker.config import Settings

# What a codec, a Lua pattern or a JSON header could stumble over.
AWKWARD = [b"", b"\x00", b"\xff\xfe\x00/:\r\n", bytes(range(256)), b"x" * 2**20]


def test_messages_arrive_in_order_with_no_earlier_delivery(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    programs.broker().publish(Queue.TASKS, [b"0", b"1", b"2"])

    taken = take(worker, 3)

    assert bodies(taken) == [b"0", b"1", b"2"]
    assert [delivery.deliveries for delivery in taken] == [0, 0, 0]


@pytest.mark.parametrize("queue", list(Queue))
def test_bytes_arrive_as_they_were_sent(programs: Programs, queue: Queue) -> None:
    consumer = programs.broker(queue)
    programs.broker().publish(queue, AWKWARD)

    assert bodies(take(consumer, len(AWKWARD))) == AWKWARD


def test_what_is_published_before_anybody_listens_is_kept(programs: Programs) -> None:
    programs.broker().publish(Queue.TASKS, [b"early"])

    assert take_one(programs.broker(Queue.TASKS)).body == b"early"


def test_a_receive_that_waits_is_woken_by_a_message(programs: Programs) -> None:
    worker, publisher = programs.broker(Queue.TASKS), programs.broker()
    timer = threading.Timer(0.2, publisher.publish, (Queue.TASKS, [b"late"]))
    timer.start()

    taken = worker.receive(1, 30.0)

    timer.join()
    assert bodies(taken) == [b"late"]


def test_a_receive_without_time_does_not_wait(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)

    assert worker.receive(5, 0.0) == []


def test_a_paused_worker_holds_only_what_it_was_given(programs: Programs) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    programs.broker().publish(Queue.TASKS, [b"%d" % number for number in range(10)])

    held = take(first, 3)
    first.pause()

    assert bodies(held) == [b"0", b"1", b"2"]
    assert sorted(bodies(take(second, 7))) == [b"%d" % number for number in range(3, 10)]


def test_a_worker_that_asked_for_nothing_holds_nothing(programs: Programs) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    first.publish(Queue.TASKS, [b"0", b"1"])

    assert first.receive(0, 0.0) == []
    assert bodies(take(second, 2)) == [b"0", b"1"]


def test_a_paused_worker_goes_on_when_it_asks_for_more(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"0", b"1", b"2"])
    take_one(worker)
    worker.pause()

    again = take(worker, 2)

    assert sorted((delivery.body, delivery.deliveries) for delivery in again) == [(b"1", 0), (b"2", 0)]


def test_settling_delivers_the_result_and_removes_the_task(programs: Programs) -> None:
    worker, ledger = programs.broker(Queue.TASKS), programs.broker(Queue.RESULTS)
    worker.publish(Queue.TASKS, [b"task"])

    worker.settle(take_one(worker), results=[b"first half", b"second half"])
    worker.flush()

    assert bodies(take(ledger, 2)) == [b"first half", b"second half"]
    worker.close()
    assert_empty(programs.broker(Queue.TASKS))


def test_settlements_are_carried_out_by_a_receive_that_takes_nothing(programs: Programs) -> None:
    worker, ledger = programs.broker(Queue.TASKS), programs.broker(Queue.RESULTS)
    worker.publish(Queue.TASKS, [b"0", b"1", b"2"])
    first, second = take(worker, 2)
    worker.settle(first, results=[b"one"])
    worker.settle(second, results=[b"two"])

    assert worker.receive(0, 0.0) == []

    assert bodies(take(ledger, 2)) == [b"one", b"two"]
    assert bodies(take(worker, 1)) == [b"2"]


def test_results_are_settled_too(programs: Programs) -> None:
    ledger = programs.broker(Queue.RESULTS)
    ledger.publish(Queue.RESULTS, [b"0", b"1", b"2"])
    for delivery in take(ledger, 3):
        ledger.settle(delivery)
    ledger.flush()
    ledger.close()

    assert_empty(programs.broker(Queue.RESULTS))


def test_a_retry_without_delay_is_ready_at_once(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"first try"])

    worker.settle(take_one(worker), retries=[Delayed(b"second try", 0.0)])

    retried = take_one(worker)
    assert (retried.body, retried.deliveries) == (b"second try", 0)


@pytest.mark.parametrize("delay", [0.2, 0.3, 0.5, 1.3], ids=lambda delay: f"{delay}s")
def test_a_delayed_retry_is_ready_after_its_delay_and_never_before(programs: Programs, delay: float) -> None:
    """The ladder is 0.2 s and 0.5 s: the delays are a step, between two steps, the last step, and beyond it."""
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"first try"])
    delivery = take_one(worker)

    begun = time.monotonic()
    worker.settle(delivery, retries=[Delayed(b"second try", delay)])
    retried = take_one(worker)

    assert time.monotonic() - begun >= delay
    assert (retried.body, retried.deliveries) == (b"second try", 0)


def test_equal_delayed_messages_stay_apart_and_intact(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"0", b"1"])
    for delivery in take(worker, 2):
        worker.settle(delivery, retries=[Delayed(body, 0.2) for body in (b"same", *AWKWARD)])

    retried = take(worker, 2 * (1 + len(AWKWARD)))

    assert sorted(bodies(retried)) == sorted([b"same", *AWKWARD] * 2)


def test_a_delayed_retry_outlives_the_worker_that_asked_for_it(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"first try"])
    worker.settle(take_one(worker), retries=[Delayed(b"second try", 0.3)])
    worker.flush()
    worker.close()

    assert take_one(programs.broker(Queue.TASKS)).body == b"second try"


def test_what_a_closed_worker_left_goes_to_another_and_is_counted(programs: Programs) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    first.publish(Queue.TASKS, [b"task"])
    take_one(first)
    first.close()

    again = take_one(second)

    assert (again.body, again.deliveries) == (b"task", 1)


def test_what_killed_workers_left_goes_to_others_and_is_counted_each_time(programs: Programs) -> None:
    programs.broker().publish(Queue.TASKS, [b"task"])
    for _ in range(2):
        holder = programs.holder(Queue.TASKS, 1)
        holder.kill()
        holder.wait()

    again = take_one(programs.broker(Queue.TASKS))

    assert (again.body, again.deliveries) == (b"task", 2)


def test_what_a_killed_ledger_left_is_taken_over_at_once(programs: Programs) -> None:
    programs.broker().publish(Queue.RESULTS, [b"0", b"1", b"2"])
    holder = programs.holder(Queue.RESULTS, 2)
    holder.kill()
    holder.wait()

    ledger = programs.broker(Queue.RESULTS)

    assert sorted(bodies(take(ledger, 3))) == [b"0", b"1", b"2"]


def test_a_released_message_goes_to_another_with_its_count_unchanged(programs: Programs) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    first.publish(Queue.TASKS, [b"task"])
    for _ in range(3):
        first.release([take_one(first)])
        second.release([take_one(second)])

    released = take_one(second)

    assert (released.body, released.deliveries) == (b"task", 0)


def test_a_release_keeps_the_count_of_earlier_deliveries(programs: Programs) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    first.publish(Queue.TASKS, [b"task"])
    take_one(first)
    first.close()
    second.release([take_one(second)])

    assert take_one(second).deliveries == 1


def test_a_waiting_worker_gets_what_is_released(programs: Programs) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    first.publish(Queue.TASKS, [b"task"])
    delivery = take_one(first)
    timer = threading.Timer(0.2, first.release, ([delivery],))
    timer.start()

    released = second.receive(1, 30.0)

    timer.join()
    assert [(item.body, item.deliveries) for item in released] == [(b"task", 0)]


def test_a_lease_that_is_extended_keeps_a_message_from_others(programs: Programs, settings: Settings) -> None:
    first, second = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    first.publish(Queue.TASKS, [b"task"])
    delivery = take_one(first)

    until = time.monotonic() + 2.5 * settings.lease_seconds
    while time.monotonic() < until:
        first.extend([delivery])
        assert bodies(second.receive(1, settings.lease_seconds / 4)) == []

    first.settle(delivery, results=[b"result"])
    first.flush()
    assert bodies(take(programs.broker(Queue.RESULTS), 1)) == [b"result"]


@pytest.mark.usefixtures("leases")
def test_a_silent_worker_loses_its_message_and_cannot_get_it_back(programs: Programs) -> None:
    silent, other = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    silent.publish(Queue.TASKS, [b"task"])
    lost = take_one(silent)
    again = take_one(other)

    silent.extend([lost])
    silent.release([lost])

    assert (again.body, again.deliveries) == (b"task", 1)
    assert_empty(silent)


@pytest.mark.usefixtures("leases")
def test_a_late_settlement_has_no_second_effect(programs: Programs) -> None:
    silent, other = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    silent.publish(Queue.TASKS, [b"task"])
    lost = take_one(silent)
    again = take_one(other)

    for worker, delivery in ((other, again), (silent, lost)):
        worker.settle(delivery, results=[b"result"], retries=[Delayed(b"retry", 60.0)])
        worker.flush()
    silent.dead_letter(lost, "too late")

    depth = other.depth()
    assert (depth.ready, depth.in_flight, depth.delayed, depth.results, depth.dead_letters) == (0, 0, 1, 1, 0)


@pytest.mark.parametrize("body", AWKWARD, ids=["empty", "zero", "separators", "every byte", "1 MB"])
def test_a_dead_letter_keeps_its_bytes_and_leaves_the_tasks(programs: Programs, body: bytes) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [body])

    worker.dead_letter(take_one(worker), "no version of this project wrote it: \u2026")

    assert take_one(programs.broker(Queue.DEAD)).body == body
    worker.close()
    assert_empty(programs.broker(Queue.TASKS))


def test_depth_tells_how_many_messages_are_where(programs: Programs, kind: Kind) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"%d" % number for number in range(5)])
    held = take(worker, 2)
    eventually(lambda: worker.depth() == Depth(3, kind.in_flight(2), 0, 0, 0))

    worker.settle(held[0], results=[b"result"], retries=[Delayed(b"later", 60.0)])
    worker.dead_letter(held[1], "malformed")
    worker.flush()
    worker.pause()  # what RabbitMQ sent ahead into the room of the settled ones is not ready

    eventually(lambda: worker.depth() == Depth(3, kind.in_flight(0), 1, 1, 1))


def test_what_is_released_is_ready(programs: Programs, kind: Kind) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"0", b"1"])
    worker.release(take(worker, 2))

    eventually(lambda: programs.broker().depth() == Depth(2, kind.in_flight(0), 0, 0, 0))


def test_two_runs_on_one_broker_do_not_mix(programs: Programs, settings: Settings) -> None:
    ours = programs.broker(Queue.TASKS)
    theirs = programs.broker(Queue.TASKS, settings=replace(settings, run_id=settings.run_id + "-other"))
    ours.publish(Queue.TASKS, [b"ours"])
    theirs.publish(Queue.TASKS, [b"theirs"])
    theirs.seed(0, [b"seeded"], 1)

    assert bodies(take(theirs, 2)) == [b"theirs", b"seeded"]
    theirs.delete()
    assert bodies(take(ours, 1)) == [b"ours"]
    assert ours.seed(0, [], 0) == 0


def test_deleting_a_run_leaves_nothing_of_it(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.seed(0, [b"0", b"1", b"2"], 3)
    first, second, _ = take(worker, 3)
    worker.settle(first, results=[b"result"], retries=[Delayed(b"later", 60.0)])
    worker.dead_letter(second, "malformed")
    worker.flush()

    worker.delete()
    worker.close()

    fresh = programs.broker(Queue.TASKS)
    assert replace(fresh.depth(), in_flight=0) == Depth(0, 0, 0, 0, 0)
    assert fresh.seed(0, [], 0) == 0
    assert_empty(fresh)


def test_waiting_ends_when_a_file_descriptor_is_readable(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    readable, writable = os.pipe()
    timer = threading.Timer(0.2, os.write, (writable, b"done"))
    timer.start()
    try:
        while not select.select([readable], [], [], 0)[0]:  # news of the broker may end a wait too
            worker.wait([readable], 60.0)
        assert os.read(readable, 10) == b"done"
    finally:
        timer.join()
        os.close(readable)
        os.close(writable)


def test_waiting_ends_when_its_time_is_over(programs: Programs) -> None:
    programs.broker(Queue.TASKS).wait([], 0.05)


def test_closing_twice_or_unopened_is_harmless(programs: Programs) -> None:
    opened = programs.broker(Queue.TASKS)
    opened.close()
    opened.close()
    programs.unopened().close()
