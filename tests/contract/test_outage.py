"""The broker away, back with its data, back without, and saying no."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.embedded import Server, free_port
from tests.conftest import GUEST
from tests.contract.conftest import Kind, Programs, at
from tests.contract.steps import bodies, killed, reopen, take, take_one
from worker.brokers import Delayed, Queue
from worker.config import Settings
from worker.errors import BrokerRefused, BrokerUnavailable


def test_a_broker_that_nobody_started_is_unavailable(programs: Programs, settings: Settings) -> None:
    address = f"127.0.0.1:{free_port()}"
    scheme = settings.broker_url.split("://")[0]
    broker = programs.unopened(at(settings, f"{scheme}://guest:s3cret@{address}"))

    with pytest.raises(BrokerUnavailable) as caught:
        broker.open(Queue.TASKS)

    assert address in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_host_that_has_no_address_is_unavailable(programs: Programs, settings: Settings) -> None:
    scheme = settings.broker_url.split("://")[0]

    with pytest.raises(BrokerUnavailable, match=r"nobody\.invalid"):
        programs.unopened(at(settings, f"{scheme}://nobody.invalid:1234")).open()


def test_a_wrong_password_is_refused_and_not_shown(programs: Programs, settings: Settings) -> None:
    broker = programs.unopened(replace(settings, broker_username=GUEST[0], broker_password="wr0ng"))

    with pytest.raises(BrokerRefused) as caught:
        broker.open()

    assert "127.0.0.1" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_an_account_of_the_settings_overrides_the_one_in_the_url(programs: Programs, settings: Settings) -> None:
    scheme, address = settings.broker_url.split("://")
    wrong = at(settings, f"{scheme}://nobody:wr0ng@{address.split('@')[-1]}")
    broker = programs.broker(Queue.TASKS, settings=replace(wrong, broker_username=GUEST[0], broker_password=GUEST[1]))

    broker.publish(Queue.TASKS, [b"task"])

    assert take_one(broker).body == b"task"


def test_everything_says_so_when_the_broker_is_away_and_works_when_it_is_back(programs: Programs, server: Server) -> None:
    worker, publisher = programs.broker(Queue.TASKS), programs.broker()
    publisher.publish(Queue.TASKS, [b"kept"])
    with killed(server):
        for attempt in (
            lambda: worker.receive(1, 0.0),
            lambda: publisher.publish(Queue.TASKS, [b"lost"]),
            lambda: publisher.seed(0, [b"lost"], 1),
            publisher.depth,
            lambda: worker.open(Queue.TASKS),
        ):
            with pytest.raises(BrokerUnavailable):
                attempt()

    reopen(worker, Queue.TASKS)
    reopen(publisher)
    publisher.publish(Queue.TASKS, [b"new"])

    assert bodies(take(worker, 2)) == [b"kept", b"new"]


def test_a_settlement_survives_a_restart_of_the_broker(programs: Programs, server: Server, kind: Kind) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"task"])
    worker.settle(take_one(worker), results=[b"result"], retries=[Delayed(b"retry", 0.0)])
    server.restart()
    with pytest.raises(BrokerUnavailable):
        worker.flush()

    reopen(worker, Queue.TASKS)
    worker.flush()

    assert bodies(take(programs.broker(Queue.RESULTS), 1)) == [b"result"]
    left = [b"retry"] if kind.settles_after_reconnect else [b"task"]
    assert sorted(bodies(take(worker, len(left)))) == left


def test_what_was_in_flight_when_the_broker_restarted_is_delivered_again(programs: Programs, server: Server) -> None:
    worker = programs.broker(Queue.TASKS)
    worker.publish(Queue.TASKS, [b"0", b"1"])
    take_one(worker)
    server.restart()

    reopen(worker, Queue.TASKS)

    assert sorted(bodies(take(worker, 2))) == [b"0", b"1"]


def test_a_broker_that_comes_back_empty_gets_its_queues_again(programs: Programs, server: Server) -> None:
    worker, ledger = programs.broker(Queue.TASKS), programs.broker(Queue.RESULTS)
    worker.seed(0, [b"lost"], 1)
    worker.settle(take_one(worker), results=[b"of a queue that is gone"])
    server.restart(empty=True)

    reopen(worker, Queue.TASKS)
    reopen(ledger, Queue.RESULTS)

    assert worker.seed(0, [b"new"], 1) == 1
    delivery = take_one(worker)
    assert delivery.body == b"new"
    worker.settle(delivery, results=[b"result"])
    worker.flush()
    assert b"result" in bodies([take_one(ledger), *ledger.receive(1, 0.3)])
