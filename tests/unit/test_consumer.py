"""The loop, step by step over the memory broker: no child process, no real time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.memory_broker import ManualClock, MemoryBroker, MemoryServer
from worker.brokers.base import Queue
from worker.config import Settings
from worker.consumer import Consumer
from worker.errors import TaskError
from worker.executor import Computed
from worker.messages import Chunk, Result
from worker.retry import Failed
from worker.signals import StopSignal
from worker.space import Count

SETTINGS = Settings(run_id="r", task="examples.sleep:nothing", worker_name="w", node_name="n", grace_seconds=5.0)


class ScriptedExecutor:
    """Stands in for the child process: a chunk is computed when the test says so."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.started = True
        self.ready = True
        self.problem: str | None = None
        self.computed: list[Computed] = []
        self._reader, self._writer = os.pipe()

    def finish(self, *outcomes: str | Failed | None) -> None:
        """The first chunk has these outcomes; without any, every index has its own text."""
        chunk = self.chunks.pop(0)
        self.computed.append(Computed(chunk, list(outcomes) or [str(index) for index in chunk.indices()], 0.5))

    def start(self) -> None: ...

    def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    def fileno(self) -> int:
        return self._reader

    def deadline(self) -> float | None:
        return None

    def poll(self) -> list[Computed]:
        computed, self.computed = self.computed, []
        return computed

    def withdraw(self) -> list[Chunk]:
        chunks, self.chunks = self.chunks, []
        return chunks

    def cancel(self) -> list[Computed]:
        return [Computed(chunk, [None] * len(chunk), 0.0) for chunk in self.withdraw()]

    def stop(self) -> None:
        for descriptor in (self._reader, self._writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self._writer = -1


class Bench:
    """A server, a worker on it, and what came of both."""

    def __init__(self, settings: Settings) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.broker = MemoryBroker(self.server)
        self.executor = ScriptedExecutor()
        self.stop = StopSignal()
        self.settings = settings
        self.consumer = Consumer(
            settings,
            self.broker,
            [self.executor],  # type: ignore[list-item]  # all that the loop uses of an Executor
            stamp="code",
            stop=self.stop,
            clock=self.clock,
            sleep=lambda _readable, seconds: self.clock.sleep(seconds),
        )
        self.broker.open(Queue.TASKS)

    def seed(self, *spans: tuple[int, int], attempt: int = 1, stamp: str = "code") -> None:
        for span in spans:
            self.server.add(Queue.TASKS, Chunk("r", stamp, Count(), (span,), attempt).encode())

    def turns(self, count: int = 2) -> None:
        """One turn takes what is there, the next settles what was computed meanwhile."""
        for _ in range(count):
            self.consumer.turn()

    def results(self) -> list[Result]:
        decoded = [Result.decode(body, "r") for body in self.server.bodies(Queue.RESULTS)]
        return [result for result in decoded if result.chunk]

    def tasks(self) -> list[Chunk]:
        return [Chunk.decode(body, "r") for body in self.server.bodies(Queue.TASKS)]

    def drain(self) -> None:
        self.stop.request()
        self.consumer.run()


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from _bench(SETTINGS)


def _bench(settings: Settings) -> Iterator[Bench]:
    made = Bench(settings)
    yield made
    made.executor.stop()
    for descriptor in (made.stop._reader, made.stop._writer):
        os.close(descriptor)


def test_a_chunk_is_settled_with_all_its_values(bench: Bench) -> None:
    bench.seed((0, 3))
    bench.turns(1)
    bench.executor.finish()
    bench.turns()
    (result,) = bench.results()
    assert (result.ranges, result.values, result.chunk) == (((0, 3),), ["0", "1", "2"], "0-2")
    assert bench.tasks() == []


def test_the_next_chunk_is_in_hand_while_one_computes(bench: Bench) -> None:
    bench.seed((0, 3), (3, 6), (6, 9))
    bench.turns()
    assert [chunk.name for chunk in bench.executor.chunks] == ["0-2", "3-5"]


def test_nothing_is_removed_before_it_is_computed(bench: Bench) -> None:
    bench.seed((0, 3))
    bench.turns(5)
    assert [chunk.name for chunk in bench.tasks()] == ["0-2"]
    assert bench.results() == []


def test_only_failed_indices_are_tried_again_after_the_ladders_delay(bench: Bench) -> None:
    bench.seed((0, 4))
    bench.turns(1)
    bench.executor.finish("0", Failed("ValueError: one"), "2", Failed("ValueError: three"))
    computed_at = bench.clock()
    bench.turns()
    (result,) = bench.results()
    assert result.ranges == ((0, 1), (2, 3))
    assert [(failure.index, failure.attempt) for failure in result.retried] == [(1, 1), (3, 1)]
    (again,) = bench.tasks()
    assert (again.ranges, again.attempt) == (((1, 2), (3, 4)), 2)
    (entry,) = bench.server.queues[Queue.TASKS]
    assert computed_at + 1.0 <= entry.ready_at <= bench.clock() + 1.0


def test_the_last_attempt_and_a_final_error_make_a_parameter_dead(bench: Bench) -> None:
    bench.seed((0, 1), attempt=4)
    bench.seed((1, 2))
    bench.turns(1)
    bench.executor.finish(Failed("ValueError: again"))
    bench.executor.finish(Failed("Reject: never", final=True))
    bench.turns()
    assert [(dead.index, dead.attempt) for result in bench.results() for dead in result.dead] == [(0, 4), (1, 1)]
    assert bench.tasks() == []


def test_a_malformed_and_a_foreign_message_are_set_aside_and_the_loop_goes_on(bench: Bench) -> None:
    foreign = Chunk("another", "code", Count(), ((0, 1),)).encode()
    newer = Chunk("r", "code", Count(), ((0, 1),)).encode().replace(b'"schema":1', b'"schema":2')
    for body in (b"\xff not JSON", foreign, newer):
        bench.server.add(Queue.TASKS, body)
    bench.seed((0, 1))
    bench.turns(4)
    assert bench.server.bodies(Queue.DEAD) == [b"\xff not JSON", foreign, newer]
    assert [chunk.name for chunk in bench.executor.chunks] == ["0-0"]


def test_an_oversized_message_is_set_aside() -> None:
    for bench in _bench(replace(SETTINGS, max_message_bytes=65_536)):
        bench.server.add(Queue.TASKS, b"[" + b"0," * 40_000 + b"0]")
        bench.turns()
        assert len(bench.server.bodies(Queue.DEAD)) == 1


def test_a_chunk_lost_with_its_worker_again_and_again_is_split(bench: Bench) -> None:
    bench.seed((0, 4))
    bench.server.queues[Queue.TASKS][0].deliveries = 3
    bench.turns(1)
    bench.broker.flush()
    assert [chunk.name for chunk in bench.tasks()] == ["0-1", "2-3"]
    assert all(chunk.attempt == 1 for chunk in bench.tasks())


def test_a_chunk_that_would_be_split_at_its_next_loss_is_computed_alone(bench: Bench) -> None:
    """Or its neighbour in the worker's hand, lost with it each time, would be split and blamed too."""
    bench.seed((0, 2), (2, 4))
    first, second = bench.server.queues[Queue.TASKS]
    first.deliveries = second.deliveries = 2
    bench.turns()
    assert [chunk.name for chunk in bench.executor.chunks] == ["0-1"]
    assert (second.owner, second.deliveries) == (None, 2)
    bench.executor.finish()
    bench.turns()
    assert [chunk.name for chunk in bench.executor.chunks] == ["2-3"]


def test_a_chunk_that_must_be_alone_waits_until_the_hands_are_empty(bench: Bench) -> None:
    bench.seed((0, 2), (2, 4), (4, 6))
    _, suspect, last = bench.server.queues[Queue.TASKS]
    suspect.deliveries = 2
    bench.turns()
    assert [chunk.name for chunk in bench.executor.chunks] == ["0-1"]
    assert (suspect.owner, suspect.deliveries, last.owner) == (None, 2, None)
    bench.executor.finish()
    bench.turns()
    assert [chunk.name for chunk in bench.executor.chunks] == ["2-3"]
    bench.executor.finish()
    bench.turns()
    assert [chunk.name for chunk in bench.executor.chunks] == ["4-5"]


def test_a_parameter_alone_that_is_lost_again_and_again_is_a_failed_attempt(bench: Bench) -> None:
    bench.seed((7, 8))
    bench.server.queues[Queue.TASKS][0].deliveries = 3
    bench.turns(1)
    bench.broker.flush()
    (result,) = bench.results()
    assert [(failure.index, failure.attempt) for failure in result.retried] == [(7, 1)]
    assert bench.tasks()[0].attempt == 2


def test_other_code_is_refused_and_the_chunk_goes_back(bench: Bench) -> None:
    bench.seed((0, 1), stamp="other")
    with pytest.raises(TaskError, match="ACCEPT_CHANGED_CODE"):
        bench.turns()
    (entry,) = bench.server.queues[Queue.TASKS]
    assert (entry.owner, entry.deliveries) == (None, 0)


def test_what_was_computed_while_the_broker_was_away_is_settled_when_it_is_back(bench: Bench) -> None:
    bench.seed((0, 3))
    bench.turns(1)
    bench.executor.finish()
    bench.server.down = True
    sleep, bench.consumer._sleep = bench.consumer._sleep, lambda readable, seconds: _recover(bench, seconds)
    bench.turns(3)
    assert sleep is not bench.consumer._sleep
    assert [result.values for result in bench.results()] == [["0", "1", "2"]]
    assert bench.tasks() == []


def _recover(bench: Bench, seconds: float) -> None:
    bench.clock.sleep(seconds)
    bench.server.down = bench.clock() < 1005.0


def test_a_body_delivered_twice_is_computed_once_and_both_are_removed(bench: Bench) -> None:
    bench.seed((0, 2), (0, 2))
    bench.turns()
    assert len(bench.executor.chunks) == 1
    bench.executor.finish()
    bench.turns()
    assert len(bench.results()) == 1
    assert bench.tasks() == []


def test_a_lease_is_renewed_while_a_chunk_computes(bench: Bench) -> None:
    bench.seed((0, 1))
    while bench.clock() < 1030.0:  # three leases
        bench.turns(1)
    (entry,) = bench.server.queues[Queue.TASKS]
    assert entry.expires > bench.clock()


def test_a_worker_without_work_sends_signs_of_life(bench: Bench) -> None:
    bench.turns(10)
    signs = [Result.decode(body, "r") for body in bench.server.bodies(Queue.RESULTS)]
    assert len(signs) >= 2
    assert all((sign.chunk, sign.worker, sign.node, sign.state) == ("", "w", "n", "ready") for sign in signs)


def test_a_worker_whose_setup_failed_gives_back_what_it_holds_and_takes_nothing(bench: Bench) -> None:
    bench.seed((0, 1))
    bench.turns(1)
    bench.executor.problem = "setup() failed: OSError: no model"
    bench.executor.ready = False
    bench.turns(3)
    (entry,) = bench.server.queues[Queue.TASKS]
    assert (entry.owner, entry.deliveries) == (None, 0)
    assert bench.consumer._state.text == "unready setup() failed: OSError: no model"


def test_a_drain_gives_back_at_once_what_was_not_begun(bench: Bench) -> None:
    bench.seed((0, 1), (1, 2))
    bench.turns(1)
    bench.executor.started = False
    bench.drain()
    assert [(entry.owner, entry.deliveries) for entry in bench.server.queues[Queue.TASKS]] == [(None, 0), (None, 0)]


def test_a_drain_waits_for_the_current_chunk_within_the_grace_period(bench: Bench) -> None:
    bench.seed((0, 1))
    bench.turns(1)
    bench.executor.finish()
    bench.drain()
    assert [result.values for result in bench.results()] == [["0"]]
    assert bench.tasks() == []


def test_a_drain_whose_grace_is_over_settles_what_is_done_and_gives_back_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.seed((0, 4))
    bench.turns(1)
    chunk = bench.executor.chunks[0]

    def cancel() -> Sequence[Computed]:
        bench.executor.chunks = []
        return [Computed(chunk, ["0", "1", None, None], 0.2)]

    monkeypatch.setattr(bench.executor, "cancel", cancel)
    bench.drain()
    assert [result.values for result in bench.results()] == [["0", "1"]]
    assert [(chunk.ranges, chunk.attempt) for chunk in bench.tasks()] == [(((2, 4),), 1)]


def test_the_state_file_says_what_the_worker_does(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for bench in _bench(replace(SETTINGS, state_file=str(path))):
        bench.turns()
        assert path.read_text() == "ready\n"
        bench.drain()
        assert path.read_text() == "gone\n"
