"""What only Redis can do to us: emptied or full while connected, its scripts forgotten, silent, and rights missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from scripts.embedded import RedisServer
from tests.contract.conftest import REDIS, Kind, Programs
from tests.contract.steps import assert_empty, bodies, killed, reopen, take, take_one
from worker.brokers import Delayed, Queue
from worker.config import Settings
from worker.errors import BrokerRefused, BrokerUnavailable


@pytest.fixture(params=[REDIS], ids=["redis"])
def kind(request: pytest.FixtureRequest) -> Kind:
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the same server, to do what an operator may do."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


def test_a_server_emptied_while_we_are_connected_gets_its_groups_again(programs: Programs, admin: redis.Redis) -> None:
    worker, publisher = programs.broker(Queue.TASKS), programs.broker()
    assert_empty(worker)
    admin.flushall()

    publisher.publish(Queue.TASKS, [b"task"])

    assert take_one(worker).body == b"task"
    admin.flushall()
    assert worker.depth().ready == 0


def test_a_server_emptied_while_we_wait_gets_its_groups_again(programs: Programs, admin: redis.Redis) -> None:
    worker, publisher = programs.broker(Queue.TASKS), programs.broker()

    def empty_and_publish() -> None:
        admin.flushall()
        publisher.publish(Queue.TASKS, [b"task"])

    timer = threading.Timer(0.2, empty_and_publish)
    timer.start()
    taken = worker.receive(1, 30.0)
    timer.join()

    assert bodies(taken) == [b"task"]


def test_scripts_that_the_server_forgot_are_sent_again(programs: Programs, admin: redis.Redis) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"task"])
    delivery = take_one(worker)
    admin.script_flush()

    worker.settle(delivery, results=[b"result"])
    worker.flush()

    assert worker.depth().results == 1


def test_a_settlement_that_is_repeated_after_a_lost_reply_has_one_effect(programs: Programs) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"task"])
    delivery = take_one(worker)

    for _ in range(2):
        worker.settle(delivery, results=[b"result"], retries=[Delayed(b"now", 0.0), Delayed(b"later", 60.0)])
        worker.flush()

    depth = worker.depth()
    assert (depth.ready, depth.delayed, depth.results) == (1, 1, 1)


def test_a_full_server_can_be_emptied_and_publishers_wait(programs: Programs, admin: redis.Redis) -> None:
    worker, ledger = programs.broker(Queue.TASKS), programs.broker(Queue.RESULTS)
    worker.publish(Queue.TASKS, [b"0", b"1"])
    admin.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable):
            worker.publish(Queue.TASKS, [b"2"])
        with pytest.raises(BrokerUnavailable):
            worker.seed(0, [b"2"], 1)

        worker.settle(take_one(worker), results=[b"result"], retries=[Delayed(b"retry", 0.01)])
        assert sorted(bodies(take(worker, 2))) == [b"1", b"retry"]
        assert bodies(take(ledger, 1)) == [b"result"]
        programs.broker(Queue.TASKS)  # a worker that is new can help
    finally:
        admin.config_set("maxmemory", 0)

    worker.publish(Queue.TASKS, [b"2"])
    assert take_one(worker).body == b"2"


def test_a_silent_server_is_unavailable_until_it_speaks_again(programs: Programs, redis_server: RedisServer) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"task"])
    redis_server.freeze()
    try:
        with pytest.raises(BrokerUnavailable):
            worker.receive(1, 0.0)
    finally:
        redis_server.thaw()

    reopen(worker, Queue.TASKS)
    assert take_one(worker).body == b"task"


def test_leases_that_ran_out_while_the_server_was_away_can_be_renewed(
    programs: Programs, redis_server: RedisServer, leases: float
) -> None:
    first, second, third = (programs.broker(Queue.TASKS) for _ in range(3))
    first.publish(Queue.TASKS, [b"kept", b"released"])
    kept, released = take(first, 2)
    with killed(redis_server):
        time.sleep(1.2 * leases)  # what passes is the lease itself

    for worker in (second, first, third):
        reopen(worker, Queue.TASKS)
    assert second.receive(1, 0.0) == []
    first.extend([kept])
    first.release([released])

    assert bodies(take(second, 1)) == [b"released"]
    first.extend([kept])
    assert third.receive(1, 0.6 * leases) == []


def test_an_account_without_the_rights_is_refused_with_what_it_needs(
    programs: Programs, settings: Settings, admin: redis.Redis
) -> None:
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">reader", "~*", "+@read")
    broker = programs.unopened(replace(settings, broker_username="reader", broker_password="reader"))

    with pytest.raises(BrokerRefused, match=r"ttg:\*"):
        broker.open()


def test_an_account_limited_to_the_keys_of_runs_suffices(programs: Programs, settings: Settings, admin: redis.Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "runs", "on", ">runs", "~ttg:*", "+@all", "-@admin", "-@dangerous")
    worker = programs.broker(Queue.TASKS, settings=replace(settings, broker_username="runs", broker_password="runs"))

    worker.seed(0, [b"0", b"1"], 2)
    first, second = take(worker, 2)
    worker.extend([first])
    worker.release([second])
    worker.dead_letter(first, "malformed")
    worker.settle(take_one(worker), results=[b"result"], retries=[Delayed(b"retry", 0.0)])
    worker.settle(take_one(worker), retries=[Delayed(b"again", 60.0)])
    worker.flush()

    depth = worker.depth()
    assert (depth.ready, depth.in_flight, depth.delayed, depth.results, depth.dead_letters) == (0, 0, 1, 1, 1)


def test_an_option_of_the_url_that_does_not_exist_is_refused(programs: Programs, settings: Settings) -> None:
    broker = programs.unopened(replace(settings, redis_url=settings.redis_url + "?colour=blue"))

    with pytest.raises(BrokerRefused, match="colour"):
        broker.open()


def test_a_key_that_is_no_stream_is_refused(programs: Programs, settings: Settings, admin: redis.Redis) -> None:
    admin.set(f"ttg:{{{settings.run_id}}}:tasks", "not a stream")
    try:
        with pytest.raises(BrokerRefused, match="WRONGTYPE"):
            programs.unopened().open()
    finally:
        admin.delete(f"ttg:{{{settings.run_id}}}:tasks")


def test_a_worker_takes_over_many_leases_without_waiting_between_them(programs: Programs, leases: float) -> None:
    lost = programs.broker(Queue.TASKS)
    lost.publish(Queue.TASKS, [b"%03d" % number for number in range(100)])
    take(lost, 100)
    worker = programs.broker(Queue.TASKS)
    first = take_one(worker)  # the look that finds the leases has begun

    rest = [delivery for _ in range(99) for delivery in worker.receive(1, 0.0)]

    assert sorted(bodies([first, *rest])) == [b"%03d" % number for number in range(100)]
    assert worker.receive(1, leases / 2) == []


def test_a_ledger_takes_over_in_batches_and_each_result_once(programs: Programs) -> None:
    programs.broker().publish(Queue.RESULTS, [b"%d" % number for number in range(10)])
    holder = programs.holder(Queue.RESULTS, 7)
    holder.kill()
    holder.wait()
    ledger = programs.broker(Queue.RESULTS)

    taken = [delivery for _ in range(5) for delivery in ledger.receive(3, 0.0)]

    assert bodies(taken) == [b"%d" % number for number in range(10)]
    assert [delivery.deliveries for delivery in taken] == [1] * 7 + [0] * 3


def test_closing_forgets_a_consumer_only_if_it_holds_nothing(programs: Programs, settings: Settings, admin: redis.Redis) -> None:
    idle, holding = programs.broker(Queue.TASKS), programs.broker(Queue.TASKS)
    holding.publish(Queue.TASKS, [b"task"])
    take_one(holding)
    assert_empty(idle)

    idle.close()
    holding.close()

    (left,) = admin.xinfo_consumers(f"ttg:{{{settings.run_id}}}:tasks", "workers")
    assert left["pending"] == 1


def test_the_keys_of_a_run_are_on_one_node_of_a_cluster(programs: Programs, settings: Settings, admin: redis.Redis) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.seed(0, [b"task"], 1)
    worker.settle(take_one(worker), retries=[Delayed(b"later", 60.0)])
    worker.flush()

    keys = sorted(admin.keys(f"*{settings.run_id}*"))

    names = ["dead", "delayed", "results", "seeded", "tasks"]
    assert keys == [f"ttg:{{{settings.run_id}}}:{name}".encode() for name in names]
