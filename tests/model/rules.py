"""The rules of a run, held to what is durable after every step: the ledger's committed file, and the messages at the broker.

What a worker or a ledger has in its memory is no place, so whatever is acknowledged before it is durable is nowhere for a
moment, and that is when it is noticed.
"""

from __future__ import annotations

from pathlib import Path

from tests.memory_broker import Entry, MemoryServer
from tests.model.record import Record, asked_for, attempt_of, outcomes_in
from worker.brokers.base import Queue
from worker.config import Settings
from worker.retry import Failed


class Violation(AssertionError):
    """A rule is broken."""


class Rules:
    """Knows what was durable before a step, to judge what is after it.

    A parameter that the broker lost with all its data is nowhere by no fault of a program, and so is a dead one that was asked
    for again and not yet published: these are forgiven until they are somewhere again, and the run must complete in spite of it.
    """

    def __init__(self, server: MemoryServer, settings: Settings, path: Path) -> None:
        self.record = Record(path)
        self._server = server
        self._run = settings.run_id
        self._attempts = settings.policy.max_attempts
        self._tasks: list[Entry] = []
        self._results: list[Entry] = []
        self._highest = 0  # position of any seeding so far
        self._forgiven: set[int] = set()
        self._were_settled: set[int] = set()
        self._rejected: set[int] = set()

    def close(self) -> None:
        self.record.close()

    def hear(self, index: int, attempt: int, outcome: str | Failed) -> None:
        """A parameter is computed."""
        if attempt > self._attempts:
            raise Violation(f"parameter {index} is at attempt {attempt} of {self._attempts}")
        if isinstance(outcome, Failed) and outcome.final:
            self._rejected.add(index)

    def forgive_broker(self) -> None:
        """The broker is about to lose everything."""
        self._forgiven |= set(range(self._highest)) - self.record.settled
        self._tasks, self._results = [], []

    def check(self) -> None:
        """Compare what is durable with what was when this was called before.

        Raises:
            Violation: a rule is broken.
        """
        self._check_record()
        tasks, results = list(self._server.queues[Queue.TASKS]), list(self._server.queues[Queue.RESULTS])
        places = self._check_places(tasks, results)
        self._check_removed(tasks, results, places)
        if self._server.queues[Queue.DEAD]:
            raise Violation("a message was set aside")
        self._tasks, self._results = tasks, results

    def _check_record(self) -> None:
        """Values are right and stay, nothing is both done and dead, nothing is dead before its last attempt."""
        known, settled = self.record.values, self.record.settled
        if not self.record.read():
            return
        values, dead = self.record.values, self.record.dead
        for index, value in values.items():
            if value != value_of(index):
                raise Violation(f"parameter {index} has the value {value}")
        if lost := known.keys() - values.keys():
            raise Violation(f"the ledger forgot the values of {lost}")
        if both := values.keys() & dead.keys():
            raise Violation(f"{both} are both done and dead")
        for index, attempts in dead.items():
            if attempts != self._attempts and index not in self._rejected:
                raise Violation(f"parameter {index} is dead after attempt {attempts} of {self._attempts}")
        self._were_settled |= self.record.settled
        self._forgiven |= settled - self.record.settled

    def _check_places(self, tasks: list[Entry], results: list[Entry]) -> set[int]:
        """Whatever seeding has passed is somewhere."""
        places = self.record.settled
        for entry in tasks:
            places |= asked_for(entry.body, self._run)
            if not 1 <= attempt_of(entry.body, self._run) <= self._attempts:
                raise Violation(f"a task is at attempt {attempt_of(entry.body, self._run)} of {self._attempts}")
        for entry in results:
            places |= outcomes_in(entry.body, self._run)
        self._forgiven -= places
        self._highest = max(self._highest, self._server.position)
        if nowhere := set(range(self._server.position)) - places - self._forgiven:
            raise Violation(f"{sorted(nowhere)} are nowhere: not in the ledger, in no task, in no result")
        return places

    def _check_removed(self, tasks: list[Entry], results: list[Entry], places: set[int]) -> None:
        """A result goes when it is in the ledger; a task when its outcomes are, or are on their way, or are tried again."""
        for entry in self._results:
            if entry not in results and (early := outcomes_in(entry.body, self._run) - self._were_settled):
                raise Violation(f"the result of {sorted(early)} was removed before it was in the ledger")
        for entry in self._tasks:
            if entry not in tasks and (early := asked_for(entry.body, self._run) - places - self._were_settled):
                raise Violation(f"the task of {sorted(early)} was removed before there was an outcome")


def value_of(index: int) -> str:
    """The right value of a parameter."""
    return str(index)
