"""The executor and its child, with real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker.config import Settings
from worker.errors import MAX_ERROR_LENGTH, TaskError
from worker.executor import Computed, Executor
from worker.messages import Chunk
from worker.retry import Failed
from worker.space import Count, Listed, Ranges

MISBEHAVE = "examples.misbehave:misbehave"
TOGETHER = "examples.misbehave:misbehave_together"
TASKS = "tests.unit.executor_tasks"
PATIENCE = 30.0

Start = Callable[..., Executor]


@pytest.fixture
def start() -> Iterator[Start]:
    executors = []

    def started(task: str, *, clock: Callable[[], float] = time.monotonic, **settings: Any) -> Executor:
        executor = Executor(Settings(task=task, **settings), clock=clock)
        executors.append(executor)
        executor.start()
        return executor

    yield started
    for executor in executors:
        executor.stop()


def chunk_of(*ranges: tuple[int, int], attempt: int = 1) -> Chunk:
    return Chunk("run", "stamp", Count(), ranges, attempt)


def poll_until(executor: Executor, condition: Callable[[], Any]) -> list[Computed]:
    """Poll as a worker does, when the descriptor or the deadline says so, until `condition` holds."""
    done: list[Computed] = []
    patience = time.monotonic() + PATIENCE
    while not condition():
        now = time.monotonic()
        assert now < patience, f"not in {PATIENCE} s; {executor.problem}"
        due = min(patience, executor.deadline() or patience)
        select.select([executor.fileno()], [], [], max(due - now, 0.0))
        done += executor.poll()
    return done


def compute(executor: Executor, *chunks: Chunk) -> list[Computed]:
    for chunk in chunks:
        executor.submit(chunk)
    return poll_until(executor, lambda: not executor.chunks)


def outcomes(executor: Executor, count: int) -> list[str | Failed | None]:
    """What becomes of the indices 0..count-1, as one chunk."""
    [computed] = compute(executor, chunk_of((0, count)))
    return computed.outcomes


def failed(outcome: str | Failed | None) -> Failed:
    assert isinstance(outcome, Failed)
    return outcome


def squares(*indices: int) -> list[str]:
    return [str(index**2) for index in indices]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_come_back_in_order_as_json(start: Start) -> None:
    values: list[Any] = [0, 1.5, -0.0, 10**400, "é\n\udc80", None, True, [1, {"a": []}], {}]
    chunk = Chunk("run", "stamp", Listed(tuple(values)), ((5, 7), (10, 17)))
    [computed] = compute(start(f"{TASKS}:identity"), chunk)
    assert computed.chunk is chunk
    assert [json.loads(str(outcome)) for outcome in computed.outcomes] == values
    assert not any("\n" in str(outcome) for outcome in computed.outcomes)
    assert computed.seconds > 0


def test_chunks_submitted_at_once_are_finished_in_order(start: Start) -> None:
    chunks = [chunk_of((start, start + 3), (start + 5, start + 6)) for start in range(0, 200, 10)]
    finished = compute(start(MISBEHAVE), *chunks)
    assert [computed.chunk for computed in finished] == chunks
    assert finished[2].outcomes == squares(20, 21, 22, 25)


def test_numpy_values_are_converted(start: Start) -> None:
    [value] = outcomes(start(f"{TASKS}:numpy_values"), 1)
    assert json.loads(str(value)) == {"scalar": 0, "array": [0, 1], "float": 0.5, "truth": True}


def test_a_chunk_larger_than_the_pipe_does_not_block_the_worker(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(gate))
    executor = start(f"{TASKS}:wait_for_file")
    poll_until(executor, lambda: executor.ready)
    executor.submit(chunk_of((3, 4)))
    large = tuple("x" * 1000 for _ in range(1000))
    executor.submit(Chunk("run", "stamp", Listed(large), ((0, 1000),)))  # returns, although the child reads nothing
    gate.touch()
    _, computed = poll_until(executor, lambda: not executor.chunks)
    assert computed.outcomes == [json.dumps(value) for value in large]


# --- what goes wrong concerns one parameter ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error", "final"),
    [
        ("raise", "ValueError: index 2 was told to raise", False),
        ("reject", "Reject: index 2 is beyond help", True),
        ("sys-exit", "SystemExit: 4", False),
        ("interrupt", "KeyboardInterrupt", False),
        ("exit", "the process died: exit status 3", False),
        ("segfault", "the process died: SIGSEGV", False),
        ("kill", "the process died: SIGKILL (out of memory?)", False),
        ("hang", "the time limit ran out: more than 0.2 s", False),
        ("spin", "the time limit ran out: more than 0.2 s", False),
        ("set", "NotJson: the function returned {2}, which JSON cannot hold", True),
        ("nan", "NotJson: the function returned [1.0, nan], which JSON cannot hold", True),
        ("circle", "NotJson: the function returned [[", True),
        ("too-much", "NotJson: the function returned a str whose JSON text has 10000002 characters", True),
    ],
)
@pytest.mark.parametrize("task", [MISBEHAVE, TOGETHER])
def test_exactly_the_culprit_is_blamed(
    start: Start, monkeypatch: pytest.MonkeyPatch, task: str, kind: str, error: str, final: bool
) -> None:
    monkeypatch.setenv("MISBEHAVE", f"2:{kind}")
    limit = 0.2 if kind in ("hang", "spin") else 0.0
    zero, one, culprit, three = outcomes(start(task, time_limit_seconds=limit), 4)
    assert [zero, one, three] == squares(0, 1, 3)
    assert failed(culprit).error.startswith(error)
    assert failed(culprit).final is final
    assert failed(culprit).after is None


@pytest.mark.parametrize("task", [MISBEHAVE, TOGETHER])
def test_several_culprits_in_one_chunk_are_each_blamed(start: Start, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setenv("MISBEHAVE", "0:exit,1:segfault,4:raise,6:exit,7:kill")
    result = outcomes(start(task), 8)
    assert [index for index, outcome in enumerate(result) if isinstance(outcome, Failed)] == [0, 1, 4, 6, 7]
    assert [outcome for outcome in result if isinstance(outcome, str)] == squares(2, 3, 5)
    assert failed(result[0]).error == "the process died: exit status 3"
    assert failed(result[7]).error == "the process died: SIGKILL (out of memory?)"


def test_chunks_behind_a_crash_are_computed_all_the_same(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISBEHAVE", "9:segfault,10:exit")
    finished = compute(start(MISBEHAVE), chunk_of((0, 10)), chunk_of((10, 20)), chunk_of((20, 30)))
    assert [[type(outcome) for outcome in computed.outcomes].count(Failed) for computed in finished] == [1, 1, 0]
    assert finished[1].outcomes[1:] == squares(*range(11, 20))


def test_a_crash_is_noticed_although_a_forked_process_lives_on(start: Start) -> None:
    zero, one, two = outcomes(start(f"{TASKS}:fork_and_crash"), 3)
    assert (zero, two) == ("0", "2")
    assert failed(one).error == "the process died: SIGSEGV"


def test_a_retry_carries_its_delay_and_the_next_attempt_is_told_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISBEHAVE", "0:retry")
    first, second = compute(start(MISBEHAVE), chunk_of((0, 1)), chunk_of((0, 1), attempt=2))
    assert first.outcomes == [Failed("Retry: not yet", after=0.1)]
    assert second.outcomes == ['"attempt 2"']


def test_an_error_shows_the_frames_of_the_function_and_no_others(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISBEHAVE", "0:raise")
    [outcome] = outcomes(start(MISBEHAVE), 1)
    head, *frames = failed(outcome).error.splitlines()
    assert head == "ValueError: index 0 was told to raise"
    assert "in misbehave" in frames[0]
    assert "in fail" in frames[-2]
    assert "child.py" not in "".join(frames)
    assert len(failed(outcome).error) <= MAX_ERROR_LENGTH


def test_printing_and_reading_standard_input_harm_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISBEHAVE", "0:print,1:stdin")
    assert outcomes(start(MISBEHAVE), 3) == squares(0, 1, 2)
    printed = capfd.readouterr()
    assert printed.out == "index 0 prints\n"
    assert printed.err == "index 0 complains\n"


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
@pytest.mark.parametrize("task", [MISBEHAVE, TOGETHER])
@pytest.mark.parametrize("kind", ["allocate", "allocate-array"])
def test_a_parameter_that_takes_too_much_memory_is_blamed(
    start: Start, monkeypatch: pytest.MonkeyPatch, task: str, kind: str
) -> None:
    monkeypatch.setenv("MISBEHAVE", f"1:{kind}")
    zero, one, two = outcomes(start(task, memory_limit_mb=200), 3)
    assert [zero, two] == squares(0, 2)
    assert "MemoryError" in failed(one).error
    assert not failed(one).final


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_a_leak_costs_one_parameter_and_the_next_has_a_fresh_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISBEHAVE", ",".join(f"{index}:leak" for index in range(7)))
    result = outcomes(start(MISBEHAVE, memory_limit_mb=100), 7)
    [culprit] = [index for index, outcome in enumerate(result) if isinstance(outcome, Failed)]
    assert 2 <= culprit <= 5
    assert failed(result[culprit]).error.startswith("MemoryError")


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_a_limit_that_the_task_itself_exceeds_is_refused(start: Start) -> None:
    executor = start("examples.sleep:nothing", memory_limit_mb=1)
    with pytest.raises(TaskError, match="MEMORY_LIMIT_MB=1 does not hold the task"):
        poll_until(executor, lambda: executor.ready)


# --- whole chunks -----------------------------------------------------------------------------------------------------


def test_a_whole_chunk_is_one_call_and_may_return_an_array(start: Start) -> None:
    assert outcomes(start(f"{TASKS}:size_of_call"), 5) == ["5"] * 5


def test_a_whole_chunk_function_that_returns_too_few_values_is_an_error_of_each(start: Start) -> None:
    errors = [failed(outcome).error for outcome in outcomes(start(f"{TASKS}:one_value_short"), 3)]
    assert all(error.startswith("ValueError: the function returned 0 values for 1 parameters") for error in errors)


def test_a_value_of_a_whole_chunk_that_is_not_json_fails_alone(start: Start) -> None:
    zero, one, two = outcomes(start(f"{TASKS}:together_with_a_set"), 3)
    assert (zero, two) == ("0", "2")
    assert failed(one).error.startswith("NotJson")


# --- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["seed_of", "global_randomness"])
def test_randomness_depends_on_the_index_and_the_run_alone(start: Start, task: str) -> None:
    def values(seed: int, *chunks: Ranges) -> list[str | Failed | None]:
        executor = start(f"{TASKS}:{task}", seed=seed, seed_globals=True)
        return [
            outcome for computed in compute(executor, *(chunk_of(*ranges) for ranges in chunks)) for outcome in computed.outcomes
        ]

    together = values(1, ((0, 6),))
    assert len(set(together)) == 6
    assert values(1, ((0, 1),), ((1, 4), (5, 6))) == together[:4] + together[5:]
    assert not set(values(2, ((0, 6),))) & set(together)


# --- readiness and replacement ----------------------------------------------------------------------------------------


def test_a_child_killed_while_idle_is_replaced(start: Start) -> None:
    executor = start(f"{TASKS}:process_id")
    [first] = outcomes(executor, 1)
    os.kill(int(str(first)), signal.SIGKILL)
    [second] = outcomes(executor, 1)
    assert second != first


def test_a_setup_that_fails_makes_unready_and_is_tried_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = tmp_path / "needed"
    monkeypatch.setenv("SETUP_NEEDS", str(needed))
    now = 0.0
    executor = start(f"{TASKS}:identity", clock=lambda: now)
    executor.submit(chunk_of((0, 2)))
    poll_until(executor, lambda: executor.problem)
    assert str(executor.problem).startswith(f"setup() of {TASKS}:identity failed: OSError: {needed} is not there yet")
    assert executor.deadline() == 1.0

    now = 0.9
    executor.poll()
    assert executor.deadline() == 1.0  # not yet
    now = 1.0
    executor.poll()
    poll_until(executor, lambda: executor.deadline() is not None)
    assert executor.deadline() == 3.0  # the delay has doubled

    needed.touch()
    now = 3.0
    executor.poll()
    [computed] = poll_until(executor, lambda: not executor.chunks)
    assert computed.outcomes == ["0", "1"]
    assert executor.ready
    assert not executor.problem


def test_an_unready_executor_gives_its_chunks_back(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETUP_NEEDS", "/nowhere")
    executor = start(f"{TASKS}:identity")
    chunks = [chunk_of((0, 2)), chunk_of((2, 4))]
    for chunk in chunks:
        executor.submit(chunk)
    poll_until(executor, lambda: executor.problem)
    assert executor.withdraw() == chunks
    assert not executor.chunks


def test_a_task_that_cuts_off_its_process_again_and_again_is_refused_instead_of_tried_for_ever(start: Start) -> None:
    executor = start(f"{TASKS}:close_everything")
    executor.submit(chunk_of((0, 4)))

    def lose_a_child_between_two_calls() -> None:
        poll_until(executor, lambda: executor._ready)
        assert executor._child
        os.waitid(os.P_PID, executor._child.pid, os.WEXITED | os.WNOWAIT)  # sooner, and the call under way is blamed
        executor.poll()

    for _ in range(2):
        lose_a_child_between_two_calls()
    with pytest.raises(TaskError, match="exit status 70, 3 times outside of any call: the task must not close"):
        lose_a_child_between_two_calls()


def test_a_task_that_writes_into_the_pipe_to_its_worker_is_refused(start: Start) -> None:
    executor = start(f"{TASKS}:babble")
    with pytest.raises(TaskError, match="is no message"):
        compute(executor, chunk_of((0, 4)))


@pytest.mark.parametrize("task", ["no.such:function", f"{TASKS}:nothing_there", f"{TASKS}:NOT_A_FUNCTION", "no colon"])
def test_a_task_that_is_no_function_is_refused(start: Start, task: str) -> None:
    executor = start(task)
    with pytest.raises(TaskError, match=f"TASK='?{task}"):
        poll_until(executor, lambda: executor.ready)


# --- the end ----------------------------------------------------------------------------------------------------------


def test_cancel_gives_back_what_is_known_and_blames_nobody(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISBEHAVE", "1:segfault,3:hang")
    executor = start(MISBEHAVE)
    chunks = [chunk_of((0, 5)), chunk_of((5, 7))]
    for chunk in chunks:
        executor.submit(chunk)
    poll_until(executor, lambda: executor.started and executor._work[0].missing < 5)  # the crash of index 1 is known
    current, untouched = executor.cancel()
    assert [current.chunk, untouched.chunk] == chunks
    assert current.outcomes[0] in (None, "0")
    assert failed(current.outcomes[1]).error == "the process died: SIGSEGV"
    assert current.outcomes[3:] == [None, None]
    assert untouched.outcomes == [None, None]
    assert not executor.chunks
    assert executor.deadline() is None
    executor.stop()


def test_a_chunk_is_started_once_its_function_is_entered(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(gate))
    executor = start(f"{TASKS}:wait_for_file")
    executor.submit(chunk_of((3, 4)))
    seen = [executor.started]  # the child is not ready
    poll_until(executor, lambda: executor.ready)
    deadline = time.monotonic() + PATIENCE
    while not executor.started:
        assert time.monotonic() < deadline
    gate.touch()
    poll_until(executor, lambda: not executor.chunks)
    assert [*seen, executor.started] == [False, False]


def test_the_child_dies_with_its_worker() -> None:
    program = f"""
import select
from tests.unit.test_executor import chunk_of, compute
from worker.config import Settings
from worker.executor import Executor

executor = Executor(Settings(task="{TASKS}:process_id_then_hang"))
executor.start()
[computed] = compute(executor, chunk_of((0, 1)))
executor.submit(chunk_of((1, 2)))
while not executor.started:
    pass
print(computed.outcomes[0], flush=True)
select.select([], [], [])
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not is_gone(child)
        parent.kill()
    deadline = time.monotonic() + PATIENCE
    while not is_gone(child):
        assert time.monotonic() < deadline


def test_the_child_leaves_the_decision_to_stop_to_its_worker(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(gate))
    executor = start(f"{TASKS}:wait_for_file")
    poll_until(executor, lambda: executor.ready)
    executor.submit(chunk_of((0, 5)))
    assert executor._child is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(executor._child.pid, number)
    gate.touch()
    [computed] = poll_until(executor, lambda: not executor.chunks)
    assert computed.outcomes == ["0", "1", "2", "3", "4"]


def test_stopping_ends_the_child_and_may_be_repeated(start: Start) -> None:
    executor = start(f"{TASKS}:process_id")
    [pid] = outcomes(executor, 1)
    executor.stop()
    assert is_gone(int(str(pid)))
    executor.stop()
