"""The ledger's loop, step by step, on a broker in memory and a clock that tests move."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.api import Desk, RetryDead
from scripts.ledger import Ledger, steady_clock
from scripts.store import Store
from tests.memory_broker import ManualClock, MemoryBroker, MemoryServer
from tests.unit.ledgers import failed, result, run_of, settings_of, space_of
from worker.brokers.base import Queue
from worker.messages import Chunk
from worker.signals import StopSignal


class Stage:
    """A ledger of 100 parameters, its broker, and what tests look at."""

    def __init__(self, folder: Path, stop: StopSignal, total: int = 100, **given: Any) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock, position=total)
        self.stop = stop
        self.desk = Desk()
        self.store = Store(folder / "ledger.sqlite", run_of(total), self.clock(), accept_changed_code=False)
        self.ledger = Ledger(
            settings_of(total, **given),
            run_of(total),
            space_of(total),
            self.store,
            MemoryBroker(self.server),
            desk=self.desk,
            stop=stop,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def send(self, *bodies: bytes) -> None:
        MemoryBroker(self.server).publish(Queue.RESULTS, bodies)

    def turn(self, seconds: float = 0.0) -> dict[str, Any]:
        """Let the loop turn for so many seconds of its clock, at least once; the status then."""
        end = self.clock() + seconds
        self.ledger.turn()
        while self.clock() < end:
            self.ledger.turn()
        return self.desk.status

    def limit_pages(self, pages: int) -> None:
        """As a full disk does: SQLite says "database or disk is full" beyond so many pages."""
        self.store._connection.execute(f"PRAGMA max_page_count = {pages}")

    def tasks(self) -> list[tuple[int, int]]:
        return [span for body in self.server.bodies(Queue.TASKS) for span in Chunk.decode(body, "test").ranges]

    def events(self, kind: str) -> list[str]:
        return [event["text"] for event in self.store.recent(100) if event["kind"] == kind]


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    with StopSignal() as stop:
        yield stop


@pytest.fixture
def stage(tmp_path: Path, stop: StopSignal) -> Iterator[Stage]:
    stage = Stage(tmp_path, stop)
    stage.ledger.connect()
    yield stage
    stage.store.close()


def test_a_run_is_waiting_then_running_then_complete(stage: Stage) -> None:
    assert stage.turn()["state"] == "waiting"
    stage.send(result(((0, 90),), computing=["90-99"]))
    status = stage.turn(2.0)
    assert (status["state"], status["done"], status["missing"], status["chunks"]) == ("running", 90, 10, 1)
    assert status["workers"][0]["chunk"] == "90-99"
    stage.send(result(((90, 99),), dead=failed(99)))
    status = stage.turn(1.0)
    assert (status["state"], status["done"], status["dead"], status["missing"]) == ("complete", 99, 1, 0)
    seconds = status["seconds"]
    assert stage.turn(60.0)["seconds"] == seconds
    assert stage.events("complete") == ["99 done, 1 dead"]
    json.dumps(status, allow_nan=False)


def test_results_are_settled_once_they_are_durable(stage: Stage) -> None:
    stage.send(result(((0, 10),)), result(((10, 20),)))
    stage.turn(1.0)
    assert stage.server.bodies(Queue.RESULTS) == []
    assert stage.store.values(0, 100).keys() == set(range(20))


def test_a_full_disk_loses_nothing_and_is_said_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.turn()
    stage.limit_pages(12)
    stage.send(result(((0, 50),), ['"' + 1000 * "x" + '"'] * 50))
    seen: list[dict[str, Any]] = []

    def make_room_after_three(seconds: float) -> None:
        stage.clock.sleep(seconds)
        seen.append(stage.desk.status)
        if len(seen) == 3:
            stage.limit_pages(1_000_000)

    stage.ledger._broker._sleep = make_room_after_three  # type: ignore[attr-defined]  # the memory broker's
    with caplog.at_level("ERROR", "ttg"):
        stage.ledger.turn()
    assert {status["state"] for status in seen} == {"failing"}
    assert "full" in seen[0]["problem"]
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1
    status = stage.turn(1.0)
    assert (status["state"], status["done"], status["problem"]) == ("running", 50, "")


def test_a_stop_while_the_disk_is_full_leaves_the_results_with_the_broker(stage: Stage) -> None:
    stage.limit_pages(1)
    stage.send(result(((0, 50),), ['"' + 1000 * "x" + '"'] * 50))
    stage.stop.request()
    stage.ledger.run()
    assert len(stage.server.available(Queue.RESULTS)) == 1


def test_a_broker_that_is_away_is_waited_for_and_said_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.turn()
    stage.server.down = True
    problems: list[str] = []

    def come_back_after_three(seconds: float) -> None:
        stage.clock.sleep(seconds)
        problems.append(stage.desk.problem)
        stage.server.down = len(problems) < 3

    stage.ledger._sleep = come_back_after_three
    with caplog.at_level("ERROR", "ttg"):
        stage.ledger.turn()
    assert len(problems) == 3
    assert all("waiting for the broker" in problem for problem in problems)
    assert len(caplog.records) == 1
    assert stage.desk.problem == ""


def test_refused_results_become_dead_letters_with_their_bytes(stage: Stage) -> None:
    stage.send(b"nonsense", result(((0, 10),)), result(((10, 20),), stamp="changed"))
    status = stage.turn(2.0)
    assert (status["done"], status["refused"], status["dead_letters"]) == (10, 2, 2)
    assert stage.server.bodies(Queue.DEAD) == [b"nonsense", result(((10, 20),), stamp="changed")]


def test_what_an_emptied_broker_lost_is_published_again(stage: Stage) -> None:
    stage.send(result(((0, 40),)))
    stage.turn(1.0)
    stage.server.lose_everything()
    stage.turn(8.0)
    assert stage.tasks() == []
    assert stage.turn(4.0)["state"] == "repairing"
    assert stage.tasks() == [(start, start + 10) for start in range(40, 100, 10)]
    stage.turn(100.0)
    assert len(stage.tasks()) == 6
    assert len(stage.events("repair")) == 1


def test_what_a_live_worker_holds_is_not_published_again_until_it_falls_silent(stage: Stage) -> None:
    for _ in range(30):
        stage.send(result((), chunk="", computing=["0-99"]))
        stage.turn(1.0)
    assert stage.tasks() == []
    stage.turn(15.0)
    assert len(stage.tasks()) == 10
    assert any("silent" in text for text in stage.events("worker"))


def test_dead_parameters_are_tried_again_on_request(stage: Stage) -> None:
    stage.send(result(((0, 97),), dead=failed(97, 98, 99)))
    assert stage.turn(1.0)["state"] == "complete"
    some, rest = RetryDead([98]), RetryDead(None)
    stage.desk.requests.put(some)
    stage.desk.requests.put(rest)
    status = stage.turn(1.0)
    assert (some.answer.result(0), rest.answer.result(0)) == (1, 2)
    assert (status["state"], status["missing"], status["dead"]) == ("running", 3, 0)
    assert stage.tasks() == [(98, 99), (97, 98), (99, 100)]
    stage.send(result(((97, 100),)))
    assert stage.turn(1.0)["state"] == "complete"


def test_a_request_that_nobody_waits_for_any_more_is_dropped(stage: Stage) -> None:
    stage.send(result((), dead=failed(5)))
    stage.turn(1.0)
    asked = RetryDead(None)
    asked.answer.cancel()
    stage.desk.requests.put(asked)
    assert stage.turn(1.0)["dead"] == 1


def test_it_ends_by_itself_only_if_it_is_told_to(stage: Stage) -> None:
    stage.send(result(((0, 100),)))
    stage.ledger.run(until_complete=True)
    assert stage.desk.status["state"] == "complete"
    assert stage.server.bodies(Queue.RESULTS) == []


def test_the_ledgers_clock_does_not_follow_one_that_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    steady = steady_clock()
    before = steady()
    monkeypatch.setattr(time, "time", lambda: right() - 3600)
    assert before <= steady() < before + 60
