"""Each way to misbehave, through the real programs on both brokers: exactly that parameter is dead, with error and attempts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.run import Run, squares

NewRun = Callable[..., Run]

RETRIED = {
    3: ("raise", "ValueError"),
    17: ("exit", "exit status"),
    31: ("segfault", "SIGSEGV"),
    44: ("hang", "time limit"),
    58: ("allocate", "MemoryError"),
    72: ("kill", "SIGKILL"),
}
FINAL = {85: ("set", "set"), 91: ("nan", "nan"), 97: ("reject", "Reject")}
HARMLESS = {5: "print", 6: "stdin"}


@pytest.mark.parametrize("function", ["misbehave", "misbehave_together"])
def test_exactly_the_parameters_that_misbehave_are_dead(new_run: NewRun, function: str) -> None:
    kinds = {index: kind for index, (kind, _) in (RETRIED | FINAL).items()} | HARMLESS
    settings = {
        "MISBEHAVE": ",".join(f"{index}:{kind}" for index, kind in kinds.items()),
        "TIME_LIMIT_SECONDS": "2",
        "MEMORY_LIMIT_MB": "128",
    }
    with new_run(task=f"examples.misbehave:{function}", count=100, CHUNK_SIZE="4", **settings) as run:
        run.ledger()
        run.seeded()
        for _ in range(2):
            run.worker()
        status = run.complete()
        dead = run.dead()
        assert set(dead) == set(RETRIED) | set(FINAL)
        for index, (_, error) in (RETRIED | FINAL).items():
            assert error.lower() in dead[index][0].lower(), dead[index]
        assert {index: attempts for index, (_, attempts) in dead.items() if index in RETRIED} == dict.fromkeys(RETRIED, 3)
        assert {index: attempts for index, (_, attempts) in dead.items() if index in FINAL} == dict.fromkeys(FINAL, 1)
        assert run.values() == {index: value for index, value in squares(100).items() if index not in dead}
        assert (status["done"], status["dead"], status["missing"]) == (100 - len(dead), len(dead), 0)


def test_a_setup_that_fails_makes_the_worker_unready_and_no_parameter_dead(new_run: NewRun) -> None:
    with new_run(task="tests.acceptance.tasks_with_setup:square", count=20) as run:
        run.ledger()
        run.seeded()
        worker = run.worker()
        run.until(lambda status: any(row["state"].startswith("unready") for row in status["workers"]))
        assert worker.process.poll() is None
        assert run.status()["dead"] == 0
        (run.folder / "model").touch()  # what the setup waits for
        run.complete()
        assert run.values() == squares(20)
