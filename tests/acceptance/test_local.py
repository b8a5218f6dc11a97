"""`ttg local`, the everyday command, as a user types it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis

from scripts.embedded import RabbitMQServer, RedisServer
from tests.waiting import PATIENCE, eventually


def local(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder), "TTG_TEST_FOLDER": str(folder), **environment}
    command = [sys.executable, "-m", "scripts.local", "--output", str(folder / "output"), *arguments]
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, output


def calls(folder: Path) -> Counter[int]:
    """How often the function was called for each index."""
    path = folder / "calls"
    return Counter(int(line.split()[0]) for line in path.read_text().splitlines()) if path.exists() else Counter()


def in_ledger(folder: Path) -> set[int]:
    """The indices that have a value."""
    with contextlib.closing(sqlite3.connect(folder / "output" / "ledger.sqlite")) as connection:
        return {index for (index,) in connection.execute("SELECT parameter FROM results")}


@pytest.fixture(params=[RedisServer, RabbitMQServer], ids=["redis", "rabbitmq"])
def backend(request: pytest.FixtureRequest) -> str:
    if reason := request.param.unavailable():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return "redis" if request.param is RedisServer else "rabbitmq"


def test_a_run_leaves_ledger_results_and_report_and_nothing_else_running(tmp_path: Path, backend: str) -> None:
    status, output = ended(local(tmp_path, "--task", "tests.acceptance.tasks:square", "--count", "200", "--backend", backend))
    assert status == 0, output
    assert "complete: 200 of 200 parameters" in output
    folder = tmp_path / "output"
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["parameter", "value"], *[[str(index), str(index * index)] for index in range(200)]]
    report = json.loads((folder / "report.json").read_text())
    assert (report["done"], report["dead"], report["missing"], report["disagreements"]) == (200, 0, 0, 0)
    assert {path.name for path in folder.iterdir()} == {"ledger.sqlite", "results.csv", "report.json", "logs"}
    found = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_what_an_interrupted_run_has_in_its_ledger_is_not_computed_again(tmp_path: Path, backend: str) -> None:
    command = ("--task", "tests.acceptance.tasks:slow_square", "--count", "600", "--chunk-size", "5", "--workers", "2")
    first = local(tmp_path, *command, "--backend", backend)
    eventually(lambda: calls(tmp_path).total() >= 150)
    first.send_signal(signal.SIGINT)
    status, output = ended(first)
    assert status == 130, output
    assert "interrupted; the same command resumes" in output
    kept = in_ledger(tmp_path)
    assert 100 < len(kept) < 600
    status, output = ended(local(tmp_path, *command, "--backend", backend))
    assert status == 0, output
    assert len(in_ledger(tmp_path)) == 600
    assert {index for index in kept if calls(tmp_path)[index] > 1} == set()


def test_a_complete_run_is_not_computed_again(tmp_path: Path) -> None:
    command = ("--task", "tests.acceptance.tasks:square", "--count", "50")
    assert [ended(local(tmp_path, *command))[0] for _ in range(2)] == [0, 0]
    assert calls(tmp_path).total() == 50


def test_a_complete_run_leaves_nothing_on_a_broker_of_the_users(tmp_path: Path, redis_server: RedisServer) -> None:
    command = ("--task", "tests.acceptance.tasks:square", "--count", "50")
    status, output = ended(local(tmp_path, *command, REDIS_URL=redis_server.url))
    assert status == 0, output
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        run = json.loads((tmp_path / "output" / "report.json").read_text())["run"]
        assert client.keys(f"ttg:{{{run}}}:*") == []


def test_dead_parameters_are_reported_by_the_exit_status(tmp_path: Path) -> None:
    command = ("--task", "examples.misbehave:misbehave", "--count", "20", "--max-attempts", "1")
    status, output = ended(local(tmp_path, *command, MISBEHAVE="3:raise"))
    assert status == 3, output
    assert json.loads((tmp_path / "output" / "report.json").read_text())["dead"] == 1


def test_an_output_folder_of_a_different_run_is_refused(tmp_path: Path) -> None:
    assert ended(local(tmp_path, "--task", "tests.acceptance.tasks:square", "--count", "20"))[0] == 0
    status, output = ended(local(tmp_path, "--task", "tests.acceptance.tasks:square", "--count", "30"))
    assert status == 1
    assert "Traceback" not in output
    assert "ledger.sqlite" in output


def test_a_task_that_does_not_import_is_named(tmp_path: Path) -> None:
    status, output = ended(local(tmp_path, "--task", "tests.acceptance.broken_task:f", "--count", "20"))
    assert status == 1
    assert "Traceback" not in output
    assert "No module named 'nothing_of_that_name'" in output


def test_a_file_of_parameters_reaches_the_function_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "params.csv").write_text('name,size\nfirst,1\n"a, b",2\n')
    (tmp_path / "echo_task.py").write_text("def echo(parameter): return parameter\n")
    command = ("--task", "echo_task:echo", "--file", str(tmp_path / "params.csv"))
    status, output = ended(local(tmp_path, *command, PYTHONPATH=f"{tmp_path}:{Path.cwd()}"))
    assert status == 0, output
    with open(tmp_path / "output" / "results.csv", newline="") as file:
        values = [json.loads(row["value"]) for row in csv.DictReader(file)]
    assert values == [{"name": "first", "size": "1"}, {"name": "a, b", "size": "2"}]


def test_one_index_runs_in_the_foreground(tmp_path: Path) -> None:
    status, output = ended(local(tmp_path, "--task", "tests.acceptance.tasks:square", "--count", "200000", "--only", "123456"))
    assert status == 0, output
    assert "parameter 123456: 123456" in output
    assert f"value: {123456**2}" in output
    assert not (tmp_path / "output").exists()


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    command = ("--task", "tests.acceptance.tasks:slow_square", "--count", "300", "--chunk-size", "5", "--workers", "2")
    process = local(tmp_path, *command, LEASE_SECONDS="1")
    eventually(lambda: calls(tmp_path).total() >= 50)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "--", "-m worker$"], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(workers[0]), signal.SIGKILL)
    status, output = ended(process)
    assert status == 0, output
    assert "takes its place" in output


def test_the_command_ttg_dispatches_and_explains_itself() -> None:
    ttg = Path(sys.executable).with_name("ttg")
    helped = subprocess.run([ttg, "--help"], capture_output=True, text=True, check=True)
    assert all(name in helped.stdout for name in ("local", "watch", "dead", "results"))
    for name in ("local", "watch", "dead", "results"):
        assert f"usage: ttg {name}" in subprocess.run([ttg, name, "--help"], capture_output=True, text=True, check=True).stdout
    unknown = subprocess.run([ttg, "frobnicate"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "there is no command 'frobnicate'" in unknown.stderr
