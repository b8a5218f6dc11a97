"""One schedule carried out: a real run on a real broker, its faults, and the verdict from outside."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.processes import ask
from tests.faults import task
from tests.faults.actor import Actor
from tests.faults.checker import Evidence, judge
from tests.faults.injection import Injection
from tests.faults.outcome import Outcome, Strike
from tests.faults.points import Stop
from tests.faults.program import Plan
from tests.faults.proxy import Proxy
from tests.faults.schedule import LEDGER, SEED, Fault, Kind, Schedule
from tests.faults.servers import USER, Server
from worker.brokers import Broker, connect
from worker.config import Settings
from worker.errors import BrokerUnavailable

PATIENCE = 90.0
"""Seconds, never a measure of speed: the longest faults together, many times over."""
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.05
"""Between two looks into the ledger's file, and so the precision of a recovery time."""
DECLARED_SECONDS = 1.5
RETRY_DELAYS = (0.05, 0.1, 0.1, 0.1, 0.1)
MAX_ATTEMPTS = len(RETRY_DELAYS) + 1
NETWORK = (Kind.CUT, Kind.HOLD, Kind.DELAY, Kind.LOSE_REPLY)


class Late(Exception):
    """What must come to pass did not, in time."""


class Trial:
    """Carries out one schedule.

    Args:
        server: the broker, running; nobody else uses it meanwhile.
        folder: empty; for logs, the ledger's file and the log of calls.
        defect: planted in every program (`tests.faults.defects`).
        patience: seconds that the run may take, and then its queues until they are empty.
    """

    def __init__(self, schedule: Schedule, server: Server, folder: Path, defect: str = "", patience: float = PATIENCE) -> None:
        self.schedule = schedule
        self.server = server
        self.folder = folder
        self.actors: dict[str, Actor] = {}
        self.proxies: dict[str, Proxy] = {}
        self.password_file = folder / "password"
        self._defect = defect
        self._patience = patience
        self._calls = folder / "calls"
        self._url_file = folder / "ledger.url"
        self.ledger_path = folder / "ledger.sqlite"
        self._run = f"faults-{schedule.number}"
        self._outcome = Outcome(schedule)
        self._known: frozenset[int] = frozenset()  # indices that have an outcome
        self._looked = 0.0
        self._counted: dict[str, Any] = {}  # the ledger's last status
        self._timed = sorted((fault for fault in schedule.faults if not fault.moment.point), key=lambda it: it.moment.seconds)
        self._mends: list[tuple[float, Callable[[], None]]] = []
        self._messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._injection = Injection(self)

    def run(self) -> Outcome:
        """The outcome; every process and queue of the run is gone afterwards."""
        self._address = str(self.folder / "stops")
        self._messages.bind(self._address)
        self._messages.setblocking(False)
        self.password_file.write_text(self.server.password)
        with contextlib.ExitStack() as stack:
            stack.callback(self._messages.close)
            for name in sorted({fault.target for fault in self.schedule.faults if fault.kind in NETWORK}):
                self.proxies[name] = stack.enter_context(Proxy(self.server.port))
            stack.callback(self._kill_all)
            self._settle_the_broker()
            self._cast()
            self._began = time.monotonic()
            try:
                self._until(lambda: self._is_complete, "complete")
                self._outcome.seconds = time.monotonic() - self._began
                self._timed.clear()
                self._mend(float("inf"))
                self._until(lambda: not self._at_the_broker(), "empty at the broker")
                self._until(self._says_complete, "complete in the ledger's words")
            except Late as late:
                self._mend(float("inf"))
                self._outcome.problems.append(str(late))
            self._end()
            self._judge()
            self._tidy()
        return self._outcome

    def _settle_the_broker(self) -> None:
        """A RabbitMQ node that dies within a second of a quorum queue's declaration may never give that queue a leader again
        (rabbitmq-server issue 10070; `docs/brokers.md`), and nobody can do anything about it: the queues are made before."""
        if self.schedule.backend == "rabbitmq" and any(fault.label == "broker: killed" for fault in self.schedule.faults):
            with self._broker():
                time.sleep(DECLARED_SECONDS)  # no event tells what a node has on its disk

    # --- the programs -------------------------------------------------------------------------------------------------

    def _cast(self) -> None:
        schedule = self.schedule
        self.add(LEDGER, "scripts.ledger", "--url-file", str(self._url_file))
        self.add(SEED, "scripts.seed", done=0)
        for number in range(1, schedule.workers + 1):
            self.add(f"worker-{number}", "worker")

    def add(self, name: str, module: str, *arguments: str, done: int | None = None, ledger_path: Path | None = None) -> None:
        """One more program, with what the schedule adds to it."""
        faults = [fault for fault in self.schedule.faults if fault.target == name]
        kinds = {fault.kind for fault in faults}
        skew = str(self.folder / f"{name}.clock") if Kind.CLOCK in kinds else ""
        plan = Plan(
            skew=skew,
            stops=tuple(
                Stop(str(number), fault.moment.point, fault.moment.nth, fault.moment.after)
                for number, fault in enumerate(self.schedule.faults)
                if fault.moment.point and fault.moment.program == name
            ),
            address=self._address,
            extra_keys=Kind.NEXT_VERSION in kinds,
            schema=1 if Kind.NEXT_SCHEMA in kinds else 0,
            defect=self._defect,
        )
        environment = {**self._environment(name), "WORKER_NAME": name}
        if ledger_path is not None:
            environment["LEDGER_PATH"] = str(ledger_path)
        actor = self.actors[name] = Actor(name, module, arguments, environment, self.folder, plan, done=done)
        if skew:
            actor.set_clock(0.0)

    def _environment(self, name: str) -> dict[str, str]:
        schedule = self.schedule
        url = self.server.url
        if name in self.proxies:
            url = url.replace(f":{self.server.port}", f":{self.proxies[name].port}")
        return {
            "PATH": os.environ["PATH"],
            "QUEUE_BACKEND": schedule.backend,
            f"{schedule.backend.upper()}_URL": url,
            "BROKER_USERNAME": USER,
            "BROKER_PASSWORD_FILE": str(self.password_file),
            "RUN_ID": self._run,
            "TASK": "tests.faults.task:compute",
            "PARAMETER_COUNT": str(schedule.count),
            "CHUNK_SIZE": str(schedule.chunk_size),
            "PREFETCH": str(schedule.prefetch),
            "WORKER_CONCURRENCY": str(schedule.concurrency),
            "RETRY_DELAYS": ",".join(map(str, RETRY_DELAYS)),
            "LEASE_SECONDS": "1",
            "REPORT_SECONDS": "0.5",
            "REPAIR_SECONDS": "1" if schedule.needs_repair else "3600",
            "GRACE_SECONDS": "2",
            "LEDGER_PATH": str(self.ledger_path),
            "LEDGER_PORT": "0",
            task.LOG: str(self._calls),
            task.PACE: str(schedule.pace),
        }

    # --- the course of events -----------------------------------------------------------------------------------------

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._patience
        while not condition():
            now = time.monotonic()
            if now > deadline:
                raise Late(f"not {what} within {self._patience:.0f} s: {self._situation()}")
            for actor in list(self.actors.values()):
                actor.look_after(now)
            while self._timed and self._timed[0].moment.seconds <= now - self._began:
                self._strike(self._timed.pop(0))
            self._mend(now)
            self._look(now)
            self._wait()

    def _wait(self) -> None:
        """For a program that comes to a stop, or for what is due next."""
        now = time.monotonic()
        due = [self._looked + LOOK_SECONDS, *(at for at, _ in self._mends)]
        if self._timed:
            due.append(self._began + self._timed[0].moment.seconds)
        select.select([self._messages], [], [], max(min(due) - now, 0.0))
        with contextlib.suppress(BlockingIOError):
            while True:
                pid, number = self._messages.recv(64).split()
                self._come_to_a_stop(int(pid), self.schedule.faults[int(number)])

    def _come_to_a_stop(self, pid: int, fault: Fault) -> None:
        """The process says that it stops itself: strike, and let it go on."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        struck = self._strike(fault)
        if not (struck and fault.kind is Kind.FREEZE and fault.target == fault.moment.program):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _strike(self, fault: Fault) -> bool:
        """Whether it struck: a run that is complete is left in peace."""
        now = time.monotonic()
        self._looked = 0.0
        self._look(now)
        if self._is_complete:
            return False
        called = frozenset(call.index for call in task.logged(self._calls))
        struck, mend = self._injection.strike(fault)
        if struck:
            self._outcome.strikes.append(Strike(fault, now, called - self._known, len(self._known)))
        if mend is not None:
            self._mends.append((time.monotonic() + fault.seconds, mend))
        return struck

    def _mend(self, now: float) -> None:
        for at, mend in list(self._mends):
            if at <= now:
                self._mends.remove((at, mend))
                mend()

    # --- what is to be seen -------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        with contextlib.suppress(sqlite3.OperationalError):  # the file is being made, or recovered
            self._known = frozenset(self._rows("results")) | frozenset(self._rows("dead"))
        for strike in self._outcome.strikes:
            strike.look(now, self._known)

    @property
    def _is_complete(self) -> bool:
        return len(self._known) >= self.schedule.count

    def _rows(self, table: str, columns: str = "parameter, 0") -> dict[int, Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self.ledger_path}?mode=ro", uri=True)) as connection:
            return dict(connection.execute(f"SELECT {columns} FROM {table}"))

    def _status(self) -> dict[str, Any]:
        """The ledger's; empty while it does not answer, or another run's ledger has the port that ours had."""
        status = ask(self._url_file) or {}
        return status if status.get("run") == self._run else {}

    def _says_complete(self) -> bool:
        self._counted = self._status()
        return self._counted.get("state") == "complete"

    @contextlib.contextmanager
    def _broker(self) -> Iterator[Broker]:
        """A connection of our own, past every proxy."""
        with contextlib.closing(connect(Settings.from_environ(self._environment("judge")), "judge")) as broker:
            broker.open()
            yield broker

    def _at_the_broker(self) -> int:
        """How many messages of the run are there, dead letters apart."""
        try:
            with self._broker() as broker:
                depth = broker.depth()
        except BrokerUnavailable:
            return -1
        return depth.ready + (depth.in_flight or 0) + depth.delayed + depth.results

    def _situation(self) -> str:
        missing = sorted(set(range(self.schedule.count)) - self._known)
        try:
            with self._broker() as broker:
                depth = str(broker.depth())
        except Exception as error:  # whatever it is, it is to be told
            depth = str(error)
        return f"missing {missing}, {depth}, {json.dumps(self._status())}"

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """End every program in order; the ledgers last."""
        ledgers = [actor for actor in self.actors.values() if actor.name.startswith(LEDGER)]
        others = [actor for actor in self.actors.values() if actor not in ledgers]
        for actors in (others, ledgers):
            for actor in actors:
                actor.ask_to_end()
            self._outcome.problems += [problem for actor in actors if (problem := actor.await_end(STOP_SECONDS))]

    def _judge(self) -> None:
        values = {index: json.loads(value) for index, value in self._rows("results", "parameter, value").items()}
        evidence = Evidence(values, self._rows("dead"), task.logged(self._calls), self._counted)
        verdict = self._outcome.verdict = judge(self.schedule.count, task.expected, evidence, MAX_ATTEMPTS)
        self._outcome.problems += verdict.sentences()
        if self.schedule.forbids_duplicates and (duplicates := self._counted.get("duplicates")):
            self._outcome.problems.append(f"{duplicates} outcomes came twice, and Redis has to refuse the second settlement")
        for actor in self.actors.values():
            log = self.folder / f"{actor.name}.log"
            if log.exists() and "Traceback" in log.read_text(errors="replace"):
                self._outcome.problems.append(f"{actor.name} left a traceback in its log")

    def _kill_all(self) -> None:
        for actor in self.actors.values():
            actor.kill()

    def _tidy(self) -> None:
        """Leave the broker as it was found."""
        self._kill_all()
        self._injection.restore_password()
        with self._broker() as broker:
            broker.delete()
