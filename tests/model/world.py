"""A whole run in one process: workers, ledger and seeds on one clock and one broker, moved step by step by an explorer.

A step lets one program go on to its next point, or is a fault. After each step the rules are checked.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self
from unittest.mock import patch

from scripts.api import RetryDead
from scripts.parameters import ParameterSpace, from_settings
from scripts.specification import Specification
from tests.memory_broker import ManualClock, MemoryServer
from tests.model.child import Child, Outcome
from tests.model.programs import COMMIT, FAIL, REMOTE, Bookkeeper, Program, Seeder, Surroundings, Worker
from tests.model.record import outcomes_in
from tests.model.rules import Rules, Violation, value_of
from worker.brokers.base import Queue
from worker.config import Settings
from worker.retry import Failed

LEDGER, SEED, TWIN = "ledger", "seed", "twin"
CHUNK = "chunk"
"""How to compute: all that is left of the chunk, each parameter after its nature. Otherwise the next one, with that outcome."""
SPANS = ("0.5", "2", "5")
"""Seconds that may pass: less than a retry, more than it, more than a lease and three signs of life."""
PATIENCE = 3_000
"""Orderly steps within which a run that is left alone must be complete: some times what it needs after the worst history."""

OUTCOMES: dict[str, Outcome] = {
    "value": lambda index, _attempt: value_of(index),
    "failure": lambda _index, _attempt: Failed("OSError: try again"),
    "rejection": lambda _index, _attempt: Failed("Reject: never", final=True),
    "recovery": lambda index, attempt: Failed("OSError: try again") if attempt == 1 else value_of(index),
}

SETTINGS = Settings(
    task="tests.unit.ledgers:task",
    run_id="model",
    chunk_size=2,
    retry_delays=(1.0,),
    max_deliveries=2,
    lease_seconds=3.0,
    report_seconds=1.0,
    repair_seconds=2.0,
    grace_seconds=1.0,
    node_name="n",
)


class Shape(NamedTuple):
    """A run, and where.

    Attributes:
        leases: whether the broker has leases (Redis Streams) or not (RabbitMQ).
        natures: for each parameter, which of `OUTCOMES` it has when it is computed with its whole chunk.
        workers: how many.
    """

    leases: bool
    natures: tuple[str, ...]
    workers: int = 2


class Step(NamedTuple):
    """What happens next, to which program, and how."""

    action: str
    who: str = ""
    how: str = ""


@contextmanager
def miniature() -> Iterator[None]:
    """Windows and batches of a chunk or two, so that four parameters meet what millions do; and no log."""
    logger = logging.getLogger("ttg")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            patch("scripts.seed.WINDOW", 1),
            patch("scripts.repair.BATCH", 1),
            patch("scripts.repair.MESSAGES", 2),
            patch("scripts.ledger.MESSAGES", 2),
        ):
            yield
    finally:
        logger.setLevel(level)


class World:
    """Everything of one run. `options` are the steps that may be taken; `orderly` is what a run without faults does next.

    Attributes:
        history: the steps taken. Taken again in another world of that shape, they lead to the same state.
        is_sound: no step has broken a rule.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.is_sound = True
        random.seed(0)  # the programs' only dice: the jitter between two attempts to reach the broker
        settings, specification, space = _run(len(shape.natures))
        self._folder = Path(tempfile.mkdtemp(prefix="ttg-model-", dir=_FAST_FOLDER))
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock, settings.lease_seconds, shape.leases)
        path = self._folder / "ledger.sqlite"
        self._around = Surroundings(settings, specification, space, self.server, self.clock, path)
        self.rules = Rules(self.server, settings, path)
        self._programs: dict[str, Program] = {}
        self._moved: dict[str, int] = {}  # when it was a program's turn
        self._starts = 0
        self._wanted = [LEDGER, SEED, *(f"worker-{number}" for number in range(1, shape.workers + 1))]
        self.history: list[Step] = []
        for who in self._wanted:
            self._start(who)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        for program in self._programs.values():
            program.kill()
        self.rules.close()
        shutil.rmtree(self._folder)

    # --- steps --------------------------------------------------------------------------------------------------------

    def options(self) -> list[Step]:
        """Every step that may be taken now."""
        options = [Step("pass", how=span) for span in SPANS]
        options += [Step("up")] if self.server.down else [Step("down"), Step("down", how="empty")]
        for who in [*self._wanted, TWIN]:
            program = self._programs.get(who)
            if program is None or not program.is_alive:
                options.append(Step("start", who))
            else:
                options += [Step(action, who) for action in ("run", "kill", "cut")]
                options += self._options_of(who, program)
        return options

    def _options_of(self, who: str, program: Program) -> Iterator[Step]:
        if not program.stop.requested:
            yield Step("terminate", who)
        if program.fiber.at in REMOTE or program.fiber.at == COMMIT:
            yield Step("fail", who)
        if isinstance(program, Worker):
            if program.child.is_busy:
                yield from (Step("compute", who, how) for how in (CHUNK, *OUTCOMES))
            yield Step("unready" if program.child.is_set_up else "ready", who)
        if isinstance(program, Bookkeeper) and self.rules.record.dead:
            yield Step("revive", who)

    def orderly(self) -> Step:
        """What happens next when nothing goes wrong, and what went wrong is mended."""
        for who in self._wanted:
            program = self._programs[who]
            if not (program.is_alive or (isinstance(program, Seeder) and program.is_done)):
                return Step("start", who)
            if isinstance(program, Worker) and not program.child.is_set_up and not program.stop.requested:
                return Step("ready", who)
        alive = {who: program for who, program in self._programs.items() if program.is_alive}
        now = self.clock()
        if awake := [who for who, program in alive.items() if program.fiber.until <= now]:
            return Step("run", min(awake, key=lambda who: self._moved[who]))
        for who, program in alive.items():
            if isinstance(program, Worker) and program.child.is_busy:
                return Step("compute", who, CHUNK)
        if self.server.down:
            return Step("up")
        left = min(program.fiber.until for program in alive.values()) - now
        return Step("pass", how=str(left))

    def take(self, step: Step) -> None:
        """Carry out `step`, and check the rules.

        Raises:
            Violation: a rule is broken, one of which is that no program ends with an error. A note tells the history, as
                `walks.replay` reads it.
        """
        self.history.append(step)
        self.is_sound = False
        try:
            self._carry_out(step)
            self.rules.check()
        except Violation as violation:
            self._tell(violation)
            raise
        except Exception as error:
            raise self._tell(Violation(f"{step.who} ended with {error!r}")) from error
        self.is_sound = True

    def _tell(self, violation: Violation) -> Violation:
        violation.add_note(f"{self.shape}, after\n{self.told()}")
        return violation

    def told(self) -> str:
        """The history, one step a line."""
        return "\n".join(map(" ".join, self.history))

    def complete(self) -> None:
        """Leave the run alone until it is complete and nothing is on its way.

        Raises:
            Violation: it does not come to that, or a rule is broken.
        """
        for _ in range(PATIENCE):
            if self.is_complete():
                return
            self.take(self.orderly())
        settled = len(self.rules.record.settled)
        raise self._tell(Violation(f"the run does not become complete: {settled} of {len(self.shape.natures)} are settled"))

    def is_complete(self) -> bool:
        if self.server.down or len(self.rules.record.settled) < len(self.shape.natures) or self.server.queues[Queue.TASKS]:
            return False
        if any(outcomes_in(body, SETTINGS.run_id) for body in self.server.bodies(Queue.RESULTS)):
            return False
        ledger = self._programs[LEDGER]
        assert isinstance(ledger, Bookkeeper)
        shown, record = ledger.desk.status, self.rules.record
        return (shown.get("done"), shown.get("dead")) == (len(record.values), len(record.dead))

    # --- what a step does ---------------------------------------------------------------------------------------------

    def _carry_out(self, step: Step) -> None:
        match step:
            case Step("pass", how=seconds):
                self.clock.now += float(seconds)
            case Step("down", how=how):
                self.server.down = True
                for program in self._programs.values():
                    program.connection.cut()
                if how == "empty":
                    self.rules.forgive_broker()
                    self.server.lose_everything()
            case Step("up"):
                self.server.down = False
            case Step("start", who):
                self._start(who)
            case Step(action, who, how):
                self._moved[who] = len(self.history)
                self._move(self._programs[who], action, how)

    def _start(self, who: str) -> None:
        self._starts += 1
        self._moved[who] = len(self.history)
        match who:
            case "ledger":
                self._programs[who] = Bookkeeper(self._around)
            case "seed" | "twin":
                self._programs[who] = Seeder(self._around, knows=who == TWIN)
            case _:
                self._programs[who] = Worker(self._around, f"{who}.{self._starts}", self.rules.hear)

    def _move(self, program: Program, action: str, how: str) -> None:
        match action:
            case "run":
                program.fiber.resume()
            case "fail":
                program.fiber.resume(FAIL)
            case "kill":
                program.kill()
            case "cut":
                program.connection.cut()
            case "terminate":
                program.terminate()
            case "revive":
                assert isinstance(program, Bookkeeper)
                program.desk.requests.put(RetryDead(None))
            case _:
                assert isinstance(program, Worker)
                self._let_child(program.child, action, how)

    def _let_child(self, child: Child, action: str, how: str) -> None:
        match action, how:
            case "compute", "chunk":
                child.compute(lambda index, attempt: OUTCOMES[self.shape.natures[index]](index, attempt), whole=True)
            case "compute", outcome:
                child.compute(OUTCOMES[outcome])
            case "unready", _:
                child.is_set_up = False
            case "ready", _:
                child.is_set_up = True


@lru_cache
def _run(total: int) -> tuple[Settings, Specification, ParameterSpace]:
    settings = replace(SETTINGS, parameter_count=total)
    space = from_settings(settings)
    return settings, Specification.from_settings(settings, space), space


_FAST_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a commit there waits for no disk
