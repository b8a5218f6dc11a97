"""What cannot be used gets one sentence that names the value and the remedy, a non-zero exit, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.embedded import RabbitMQServer, RedisServer
from scripts.processes import start
from tests.waiting import PATIENCE, eventually

PROGRAMS = {"worker": "worker", "seed": "scripts.seed", "ledger": "scripts.ledger"}
GOOD = {"TASK": "examples.sleep:nothing", "RUN_ID": "sentences", "PARAMETER_COUNT": "10", "LEDGER_PORT": "0"}


def run(module: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"PATH": os.environ["PATH"], **GOOD, "LEDGER_PATH": str(folder / "ledger.sqlite"), **environment}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=PATIENCE, check=False)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The last line on standard error, after checking that the program ended as it should."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("QUEUE_BACKEND", "kafka", "QUEUE_BACKEND=kafka is not one of redis, rabbitmq"),
        ("CHUNK_SIZE", "-1", "CHUNK_SIZE=-1 is not a whole number of at least 1"),
        ("REDIS_URL", "nonsense", "REDIS_URL=nonsense is not a URL of the form redis://"),
        ("TASK", "", "TASK is not set"),
        ("TASK", "no_such_module:f", "there is no module no_such_module"),
        ("TASK", "examples.sleep", "is not of the form module:function"),
    ],
)
def test_a_setting_that_cannot_be_used(tmp_path: Path, program: str, setting: str, value: str, expected: str) -> None:
    assert expected in sentence(run(PROGRAMS[program], tmp_path, **{setting: value}))


@pytest.fixture
def at_redis(redis_server: RedisServer) -> dict[str, str]:
    return {"QUEUE_BACKEND": "redis", "REDIS_URL": redis_server.url}


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("examples.sleep:absent", "module examples.sleep has no absent"),
        ("tests.acceptance.run:PATIENCE", "PATIENCE is a float, not a function"),
        ("tests.acceptance.broken_task:f", "No module named 'nothing_of_that_name'"),
    ],
)
def test_a_task_that_cannot_be_loaded(tmp_path: Path, at_redis: dict[str, str], task: str, expected: str) -> None:
    assert expected in sentence(run("worker", tmp_path, **at_redis, TASK=task))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_password_on_redis(tmp_path: Path, redis_server: RedisServer, program: str) -> None:
    url = redis_server.url.replace("redis://", "redis://guest:hush@")
    said = sentence(run(PROGRAMS[program], tmp_path, REDIS_URL=url))
    assert "refuse" in said
    assert "***" in said
    assert "hush" not in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_password_on_rabbitmq(tmp_path: Path, rabbitmq_server: RabbitMQServer, program: str) -> None:
    url = rabbitmq_server.url.replace("guest:guest@", "guest:hush@")
    said = sentence(run(PROGRAMS[program], tmp_path, QUEUE_BACKEND="rabbitmq", RABBITMQ_URL=url))
    assert "refuse" in said
    assert "***" in said
    assert "hush" not in said


@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_broker_that_is_not_there_is_waited_for_and_named_once(tmp_path: Path, backend: str, program: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused
        scheme = {"redis": "redis", "rabbitmq": "amqp"}[backend]
        url = {f"{backend.upper()}_URL": f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}"}
        environment = {"PATH": os.environ["PATH"], **GOOD, "LEDGER_PATH": str(tmp_path / "l"), "QUEUE_BACKEND": backend, **url}
        waiting = start(program, PROGRAMS[program], environment=environment, logs=tmp_path)
        try:
            eventually(lambda: "waiting for the broker" in waiting.log.read_text())
            assert waiting.process.poll() is None
        finally:
            waiting.process.terminate()
            assert waiting.process.wait(PATIENCE) in (0, 130)
    log = waiting.log.read_text()
    assert log.count('"message": "waiting for the broker') == 1
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--count", "10", "--chunk-size", "-4"], "CHUNK_SIZE=-4 is not a whole number of at least 1"),
        (["--count", "many"], "PARAMETER_COUNT=many is not a whole number"),
        (["--grid", "a=0:1"], "a=0:1"),
        (["--file", "absent.csv"], "absent.csv"),
        (["--count", "10", "--backend", "kafka"], "QUEUE_BACKEND=kafka"),
        (["--count", "10", "--workers", "0"], "--workers 0 is not at least 1"),
        (["--count", "10", "--only", "10"], "--only 10 is not an index of this run; they are 0..9"),
    ],
)
def test_an_option_of_local_that_cannot_be_used(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = run("scripts.local", tmp_path, "--task", "examples.sleep:nothing", *arguments, PARAMETER_COUNT="", RUN_ID="")
    assert expected in sentence(done)
