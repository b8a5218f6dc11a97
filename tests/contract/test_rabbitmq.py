"""What is RabbitMQ's own: deliveries that die with their connection, walked delays, locks, queues that vanish, back-pressure."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest

from scripts.embedded import RabbitMQServer
from tests.contract.conftest import RABBITMQ, Programs
from tests.contract.steps import assert_empty, bodies, reopen, take, take_one
from tests.waiting import eventually
from worker.brokers import Delayed, Queue, rabbitmq
from worker.brokers.amqp import Link
from worker.config import Settings
from worker.errors import BrokerRefused, BrokerUnavailable

TIMEOUT = {"consumer_timeout": 500, "channel_tick_interval": 200}  # milliseconds

pytestmark = pytest.mark.parametrize("kind", [RABBITMQ], ids=["rabbitmq"])


@pytest.fixture
def queue(settings: Settings) -> str:
    """What the run's queues are called."""
    return f"ttg.{settings.run_id}"


def test_a_delivery_of_an_earlier_connection_gives_its_result_and_nothing_else(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"0", b"1", b"2"])
    settled, released, buried = take(worker, 3)
    worker.open(Queue.TASKS)
    again = take(worker, 3)  # their tags are those of the void ones

    worker.settle(settled, results=[b"result"], retries=[Delayed(b"retry", 0.0)])
    worker.release([released])
    worker.dead_letter(buried, "too late")

    depth = worker.depth()
    assert (depth.ready, depth.delayed, depth.results, depth.dead_letters) == (0, 0, 1, 0)
    assert [(delivery.body, delivery.deliveries) for delivery in again] == [(b"0", 1), (b"1", 1), (b"2", 1)]
    worker.close()
    assert sorted(bodies(take(programs.broker(Queue.TASKS), 3))) == [b"0", b"1", b"2"]


def test_a_delay_that_is_no_step_is_walked_without_being_seen(programs: Programs) -> None:
    """The ladder is 0.2 s and 0.5 s; 1.5 s is three times 0.5 s, and the worker is there all the time."""
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"first try"])
    begun = time.monotonic()
    worker.settle(take_one(worker), retries=[Delayed(b"second try", 1.5)])

    assert take_one(worker).body == b"second try"
    assert time.monotonic() - begun >= 1.5
    worker.flush()
    depth = worker.depth()
    assert (depth.ready, depth.delayed) == (0, 0)


def test_settlements_out_of_order_remove_exactly_their_tasks(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"%d" % number for number in range(10)])
    taken = take(worker, 10)
    for number in (9, 1, 2, 0, 5):
        worker.settle(taken[number], results=[taken[number].body])
        if number == 2:
            worker.flush()
    worker.flush()
    worker.close()

    assert sorted(bodies(take(programs.broker(Queue.TASKS), 5))) == [b"3", b"4", b"6", b"7", b"8"]


def test_more_messages_than_a_prefetch_can_say_may_be_asked_for(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"0", b"1"])
    eventually(lambda: len(worker.receive(100_000, 0.1)) > 0)


def test_a_second_ledger_waits_for_the_first(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "LOCK_SECONDS", 0.1)
    first, second = programs.broker(Queue.RESULTS), programs.unopened()

    with pytest.raises(BrokerUnavailable, match="another ledger is at work"):
        second.open(Queue.RESULTS)
    first.close()

    reopen(second, Queue.RESULTS)


def test_a_seed_that_finds_another_at_work_says_so(
    programs: Programs, settings: Settings, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "LOCK_SECONDS", 0.1)
    other = Link(settings, "another seed")
    assert other.lock(f"{queue}.seed.lock", 0.0)
    seed = programs.broker()

    with pytest.raises(BrokerUnavailable, match="another seed is at work"):
        seed.seed(0, [b"task"], 1)
    other.close()

    assert seed.seed(0, [b"task"], 1) == 1


def test_a_worker_whose_queue_is_deleted_is_told_and_gets_it_back(programs: Programs, settings: Settings, queue: str) -> None:
    worker = programs.broker(Queue.TASKS)
    assert_empty(worker)
    other = Link(settings, "somebody")
    other.delete(f"{queue}.tasks")
    other.close()

    with pytest.raises(BrokerUnavailable, match="cancelled"):
        worker.receive(1, 30.0)

    worker.open(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"task"])
    assert take_one(worker).body == b"task"


def test_a_result_that_has_no_queue_does_not_cost_the_task(programs: Programs, settings: Settings, queue: str) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"task"])
    worker.settle(take_one(worker), results=[b"result"])
    other = Link(settings, "somebody")
    other.delete(f"{queue}.results")
    other.close()

    with pytest.raises(BrokerUnavailable, match="has no queue"):
        worker.flush()

    worker.open(Queue.TASKS)
    worker.flush()
    assert worker.depth().results == 1
    assert take_one(worker).body == b"task"


def test_a_broker_without_memory_is_waited_for(programs: Programs, rabbitmq_server: RabbitMQServer) -> None:
    worker, publisher = programs.broker(Queue.TASKS), programs.broker()
    rabbitmq_server.control("set_vm_memory_high_watermark", "0.000001")
    publishing = threading.Thread(target=publisher.publish, args=(Queue.TASKS, [b"task"]))
    try:
        publishing.start()
        assert worker.receive(1, 0.5) == []
        assert publishing.is_alive()
    finally:
        rabbitmq_server.control("set_vm_memory_high_watermark", "0.4")
        publishing.join()

    assert take_one(worker).body == b"task"


def test_a_broker_that_does_not_answer_holds_nobody_up(programs: Programs, rabbitmq_server: RabbitMQServer) -> None:
    worker = programs.broker(Queue.TASKS)
    assert_empty(worker)
    rabbitmq_server.freeze()
    try:
        assert worker.receive(1, 0.1) == []
        worker.close()
    finally:
        rabbitmq_server.thaw()


def test_a_consumer_that_the_broker_gave_up_is_told(programs: Programs, rabbitmq_server: RabbitMQServer) -> None:
    """RabbitMQ closes the channel (before 4.3) or cancels the consumer when a delivery is not settled in time."""
    worker = programs.broker(Queue.TASKS)
    before = [rabbitmq_server.control("eval", f"application:get_env(rabbit, {name}).") for name in TIMEOUT]
    for name, milliseconds in TIMEOUT.items():
        rabbitmq_server.control("eval", f"application:set_env(rabbit, {name}, {milliseconds}).")
    try:
        slow = programs.broker(Queue.TASKS)
        slow.publish(Queue.TASKS, [b"task"])
        late = take_one(slow)

        with pytest.raises(BrokerUnavailable):
            eventually(lambda: bool(slow.receive(1, 1.0)))
        slow.open(Queue.TASKS)
        slow.settle(late, results=[b"result"])
        slow.flush()

        assert worker.depth().results == 1
        assert take_one(worker).body == b"task"
    finally:
        for name, answer in zip(TIMEOUT, before, strict=True):
            setting = answer.strip().removeprefix("{ok,").removesuffix("}")
            rabbitmq_server.control("eval", f"application:set_env(rabbit, {name}, {setting}).")


def test_a_virtual_host_that_is_not_there_is_refused(programs: Programs, settings: Settings) -> None:
    url = settings.rabbitmq_url.removesuffix("%2F") + "nowhere"

    with pytest.raises(BrokerRefused, match="nowhere"):
        programs.unopened(replace(settings, rabbitmq_url=url)).open()


def test_an_authority_file_that_is_not_there_is_named(programs: Programs, settings: Settings) -> None:
    secure = replace(settings, rabbitmq_url="amqps://127.0.0.1:1/%2F", broker_ca_file="/nowhere/ca.pem")

    with pytest.raises(BrokerRefused, match=r"BROKER_CA_FILE=/nowhere/ca\.pem"):
        programs.unopened(secure).open()


def test_an_address_that_accepts_and_never_answers_is_waited_for(
    kind: object, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time-out and pika's run out together, and either may come first: hence many times."""
    monkeypatch.setattr("worker.brokers.amqp.CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"amqp://127.0.0.1:{silent.getsockname()[1]}/"
        for _ in range(20):
            with pytest.raises(BrokerUnavailable, match="did not connect"):
                Link(replace(settings, rabbitmq_url=url), "test")
