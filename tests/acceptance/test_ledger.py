"""The ledger as a program: a full disk, a file that is not for it, a second one, and the dead that get another chance."""

from __future__ import annotations

import csv
import io
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.acceptance.run import Run, squares
from tests.acceptance.tasks import FOLDER
from tests.disk import limit_files
from tests.waiting import PATIENCE, eventually
from worker import Context, Reject

NewRun = Callable[..., Run]


def refuse_sevens(parameter: int, context: Context) -> int:
    """A task that is mended while its run goes on."""
    if parameter % 10 == 7 and not (FOLDER / "mended").exists():
        raise Reject(f"{parameter} ends in a seven")
    return parameter * parameter


def test_a_full_disk_holds_the_run_up_and_loses_nothing(new_run: NewRun) -> None:
    with new_run(count=500) as run:
        run.seeded()
        ledger = run.ledger()
        run.until(lambda status: status["state"] == "waiting")
        limit_files(ledger.process.pid, Path(f"{run.ledger_path}-wal").stat().st_size)
        run.worker()
        status = run.until(lambda status: status["state"] == "failing")
        assert "cannot be written" in status["problem"]
        assert status["done"] == 0
        assert ledger.log.read_text().count("cannot be written") == 1
        limit_files(ledger.process.pid, resource.RLIM_INFINITY)
        status = run.complete()
        assert run.values() == squares(500)
        assert status["problem"] == ""
        assert ledger.process.poll() is None


def test_dead_parameters_get_another_chance_once_their_task_is_mended(new_run: NewRun) -> None:
    with new_run(count=100, task=f"{__name__}:refuse_sevens") as run:
        run.ledger()
        run.seeded()
        run.worker()
        assert run.complete()["dead"] == 10
        url = run.url_file.read_text().strip()
        listed = ttg("dead", "list", "--ledger", url)
        assert listed.stdout.splitlines()[0].startswith("7: 1 attempt, ")
        assert "7 ends in a seven" in listed.stdout
        (run.folder / "mended").touch()
        assert ttg("dead", "retry", "17", "27", "--ledger", url).stdout == "2 dead parameters are missing again\n"
        run.until(lambda status: status["state"] == "complete" and status["dead"] == 8)
        assert ttg("dead", "retry", "--ledger", url).stdout == "8 dead parameters are missing again\n"
        run.until(lambda status: status["state"] == "complete" and status["dead"] == 0)
        assert run.values() == squares(100)
        over_http = ttg("results", "--ledger", url).stdout
        assert over_http == ttg("results", "--output", str(run.folder)).stdout
        assert [int(row["value"]) for row in csv.DictReader(io.StringIO(over_http))] == list(squares(100).values())


def test_sigterm_ends_it_in_order_and_the_next_one_goes_on(new_run: NewRun) -> None:
    with new_run(count=300, task="slow_square") as run:
        run.seeded()
        run.worker()
        ledger = run.ledger()
        run.until(lambda status: status["done"] >= 50)
        ledger.signal(signal.SIGTERM)
        assert ledger.process.wait(PATIENCE) == 0
        done = len(run.values())
        assert done >= 50
        run.ledger()
        assert run.complete()["seconds"] > 0
        assert run.values() == squares(300)


def test_a_second_ledger_on_the_same_file_is_refused_with_a_sentence(new_run: NewRun) -> None:
    with new_run(count=20) as run:
        first = run.ledger()
        run.until(lambda status: status["state"] == "waiting")
        second = run.ledger()
        assert second.process.wait(PATIENCE) == 1
        assert sentence(second.log) == (
            f"LEDGER_PATH={run.ledger_path} is in the hands of another ledger; end that one, or name another file"
        )
        assert first.process.poll() is None


def test_the_file_of_another_run_is_refused_with_a_sentence(new_run: NewRun) -> None:
    with new_run(count=20) as run:
        stop(run)
        other = run.ledger(PARAMETER_COUNT="21")
        assert other.process.wait(PATIENCE) == 1
        assert "choose another output folder" in sentence(other.log)


def test_changed_code_is_refused_until_it_is_accepted_and_then_reported_by_range(new_run: NewRun) -> None:
    with new_run(count=100, task="held_square") as run:
        first = run.ledger()
        run.seeded()
        worker = run.worker()
        run.let_go(*range(10))
        run.until(lambda status: status["done"] == 10)
        for program in (worker, first):
            program.signal(signal.SIGKILL)
            program.process.wait()
        run.let_go()

        changed = {"TASK_VERSION": "2"}
        refused = run.ledger(**changed)
        assert refused.process.wait(PATIENCE) == 1
        assert "go on with --accept-changed-code, or choose another output folder" in sentence(refused.log)

        changed["ACCEPT_CHANGED_CODE"] = "true"
        run.ledger(**changed)
        run.worker(**changed)
        status = run.complete()
        assert run.values() == squares(100)
        assert [span[:2] for span in status["changed_code"]] == [[10, 99]]


def test_it_says_in_its_health_that_the_broker_is_away(new_run: NewRun) -> None:
    with new_run(count=20) as run:
        run.ledger()
        eventually(lambda: health(run) == (200, "ok"))
        run.server.stop()
        try:
            eventually(lambda: health(run)[0] == 503 and "waiting for the broker" in health(run)[1])
            assert run.status()["state"] == "failing"
        finally:
            run.server.start()
        eventually(lambda: health(run) == (200, "ok"))
        assert run.status()["problem"] == ""


def health(run: Run) -> tuple[int, str]:
    """Status and word of its probe; 0 while it does not listen."""
    try:
        answer = httpx.get(f"{run.url_file.read_text().strip()}/healthz")
    except (OSError, httpx.TransportError):
        return 0, ""
    return answer.status_code, answer.text.strip()


def stop(run: Run) -> None:
    """Let a ledger make its file, and end it."""
    ledger = run.ledger()
    run.until(lambda status: status["state"] == "waiting")
    ledger.signal(signal.SIGTERM)
    assert ledger.process.wait(PATIENCE) == 0


def sentence(log: Path) -> str:
    """The one line that a program left behind when it refused."""
    (line,) = log.read_text().splitlines()
    return line


def ttg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "scripts.cli", *arguments], capture_output=True, text=True, check=True)
