"""One run as a user has it: the real programs as processes, which a test starts, signals and questions."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from scripts.embedded import RabbitMQServer, RedisServer
from scripts.processes import Program, ask, start
from tests.waiting import PATIENCE, eventually
from worker.brokers import Broker, connect
from worker.config import Settings


class Run:
    """A run of `task` over `count` parameters on a server; every program that it started is gone after `with`."""

    def __init__(
        self,
        server: RedisServer | RabbitMQServer,
        folder: Path,
        name: str,
        *,
        task: str = "square",
        count: int = 100,
        **settings: str,
    ) -> None:
        self.server = server
        self.backend = "redis" if isinstance(server, RedisServer) else "rabbitmq"
        self.folder = folder
        self.url_file = folder / "ledger.url"
        self.ledger_path = folder / "ledger.sqlite"
        self.environment = {
            "PATH": os.environ["PATH"],
            "QUEUE_BACKEND": self.backend,
            f"{self.backend.upper()}_URL": server.url,
            "RUN_ID": name,
            "TASK": task if ":" in task else f"tests.acceptance.tasks:{task}",
            "PARAMETER_COUNT": str(count),
            "CHUNK_SIZE": "10",
            "RETRY_DELAYS": "0.1,0.2",
            "LEASE_SECONDS": "1",
            "REPORT_SECONDS": "0.5",
            "REPAIR_SECONDS": "2",
            "LEDGER_PATH": str(self.ledger_path),
            "LEDGER_PORT": "0",
            "TTG_TEST_FOLDER": str(folder),
            **settings,
        }
        self.programs: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for program in self.programs:
            program.signal(signal.SIGCONT)
            program.signal(signal.SIGKILL)
            program.process.wait()
        with contextlib.closing(self.broker()) as broker:
            broker.open()
            broker.delete()

    # --- the programs -------------------------------------------------------------------------------------------------

    def seed(self, **settings: str) -> Program:
        return self._start("scripts.seed", settings)

    def seeded(self) -> None:
        """Seed, to the end."""
        assert self.seed().process.wait(PATIENCE) == 0

    def ledger(self, **settings: str) -> Program:
        self.url_file.unlink(missing_ok=True)
        return self._start("scripts.ledger", settings, "--url-file", str(self.url_file))

    def worker(self, **settings: str) -> Program:
        return self._start("worker", {"WORKER_NAME": f"worker-{len(self.programs)}", **settings})

    def _start(self, module: str, settings: dict[str, str], *arguments: str) -> Program:
        name = f"{len(self.programs)}-{module}"
        program = start(name, module, *arguments, environment={**self.environment, **settings}, logs=self.folder)
        self.programs.append(program)
        return program

    def settings(self) -> Settings:
        return Settings.from_environ(self.environment)

    def broker(self) -> Broker:
        """A connection of the test's own, not open."""
        return connect(self.settings(), "test")

    # --- what came of it ----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        return ask(self.url_file) or {"state": "away", "done": -1, "dead": -1, "duplicates": -1, "workers": []}

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status that meets the condition."""
        status: dict[str, Any] = {}

        def met() -> bool:
            nonlocal status
            status = self.status()
            return condition(status)

        eventually(met, lambda: f"the last status was {json.dumps(status)}; {self.logs()}")
        return status

    def complete(self) -> dict[str, Any]:
        """The status when the run is complete; a program that refuses fails the test at once."""
        return self.until(lambda status: status["state"] == "complete")

    def begun(self, count: int = 1) -> list[int]:
        """The indices whose calls were begun, as soon as there are `count` of them."""
        eventually(lambda: len(self.calls()) >= count, lambda: f"calls: {self.calls()}; {self.logs()}")
        return self.calls()

    def calls(self) -> list[int]:
        """The index of every call of the function, in order."""
        path = self.folder / "calls"
        return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []

    def attempts(self) -> Counter[tuple[int, int]]:
        """How often each (index, attempt) was called."""
        lines = (self.folder / "calls").read_text().splitlines()
        return Counter((int(index), int(attempt)) for index, attempt, _ in map(str.split, lines))

    def let_go(self, *parameters: int) -> None:
        """Let `held_square` return, for these parameters or for all."""
        for name in [f"go-{parameter}" for parameter in parameters] or ["go"]:
            (self.folder / name).touch()

    def rows(self, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self.ledger_path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def values(self) -> dict[int, Any]:
        return {index: json.loads(value) for index, value in self.rows("SELECT parameter, value FROM results")}

    def dead(self) -> dict[int, tuple[str, int]]:
        return {index: (error, attempts) for index, error, attempts in self.rows("SELECT parameter, error, attempts FROM dead")}

    def logs(self) -> str:
        return "\n".join(f"--- {program.name}\n{program.log.read_text()[-2000:]}" for program in self.programs)


def squares(count: int) -> dict[int, int]:
    return {index: index * index for index in range(count)}
