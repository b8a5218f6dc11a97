"""The programs of a run as processes of this machine: a seed, a ledger, workers, and a broker if none is given.

What Kubernetes does in the cluster is done here: each program is configured by its environment, its output goes to a log, and
one that ends is started again.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from scripts.watch import LedgerAway, fetch
from worker.errors import TtgError

STOP_SECONDS = 30.0


class ProgramFailed(TtgError):
    """A program refused to go on; the sentence is its own."""


@dataclass(slots=True)
class Program:
    """One process and where its output went."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def last_words(self) -> str:
        """The sentence it ended with."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"{self.name} ended with status {self.process.returncode}"


class Processes:
    """The programs of one run. `with` starts the ledger, the seed and the workers, and ends whatever is left.

    Args:
        environment: the run's settings, by their environment names.
        folder: the output folder; logs go to `folder/logs`, the ledger to `folder/ledger.sqlite`.
        workers: how many workers are kept running.
        say: told what happens, a sentence at a time.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, workers: int, say: Callable[[str], None]) -> None:
        self.ledger_path = folder / "ledger.sqlite"
        self._url_file = folder / "ledger.url"
        self._logs = folder / "logs"
        self._environment = {
            **os.environ,
            **environment,
            "LEDGER_PATH": str(self.ledger_path),
            "LEDGER_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        self._count = workers
        self._say = say
        self._names = (f"worker-{number}" for number in itertools.count(1))
        self.workers: list[Program] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._url_file.unlink(missing_ok=True)
        self.ledger = self._start_ledger()
        self.workers = [self.start_worker() for _ in range(self._count)]
        self.seed = self._start("seed", "scripts.seed", "--ledger", str(self.ledger_path))
        return self

    def __exit__(self, *_exception: object) -> None:
        _end([*self.workers, self.seed])
        _end([self.ledger])  # after the workers: what they finished at last is kept
        self._url_file.unlink(missing_ok=True)

    def start_worker(self) -> Program:
        """One more worker, under a name of its own as a new pod has one."""
        name = next(self._names)
        return self._start(name, "worker", WORKER_NAME=name)

    def watch_over(self) -> None:
        """Start again what ended, as Kubernetes would.

        Raises:
            ProgramFailed: a program refused (a setting, the task, the broker, the ledger's file): starting it again is no use.
        """
        for program in [*self.workers, self.seed, self.ledger]:
            if program.process.poll() == 1:
                raise ProgramFailed(program.last_words())
        for place, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self.workers[place] = self.start_worker()
                self._say(f"{worker.name} ended ({_how(worker.process.returncode)}); {self.workers[place].name} takes its place")
        if self.seed.process.poll() not in (None, 0):
            self._say(f"the seed ended ({_how(self.seed.process.returncode)}); it is started again")
            self.seed = self._start("seed", "scripts.seed", "--ledger", str(self.ledger_path))
        if self.ledger.process.poll() is not None:
            self._say(f"the ledger ended ({_how(self.ledger.process.returncode)}); it is started again")
            self._url_file.unlink(missing_ok=True)
            self.ledger = self._start_ledger()

    def status(self) -> dict[str, Any] | None:
        """The ledger's `/status`, or None while it does not answer."""
        return ask(self._url_file)

    def _start_ledger(self) -> Program:
        return self._start("ledger", "scripts.ledger", "--url-file", str(self._url_file))

    def _start(self, name: str, module: str, *arguments: str, **environment: str) -> Program:
        return start(name, module, *arguments, environment={**self._environment, **environment}, logs=self._logs)


def start(name: str, module: str, *arguments: str, environment: Mapping[str, str], logs: Path) -> Program:
    """`python -m module`, its output appended to `logs/name.log`."""
    log = logs / f"{name}.log"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the command in front, which then ends the others in order
        )
    return Program(name, process, log)


def ask(url_file: Path) -> dict[str, Any] | None:
    """The status of the ledger whose address is in `url_file`, or None while it does not answer."""
    try:
        return fetch(url_file.read_text().strip())
    except (OSError, LedgerAway):
        return None


def _end(programs: Sequence[Program]) -> None:
    """End them in order, and those that do not end with force."""
    for program in programs:
        program.signal(signal.SIGCONT)
        program.signal(signal.SIGTERM)
    for program in programs:
        try:
            program.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            program.process.kill()
            program.process.wait()


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"
