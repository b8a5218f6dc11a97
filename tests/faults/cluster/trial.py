"""One run in a cluster under one fault, and the verdict from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from scripts.text import duration
from tests.faults.checker import Verdict, judge
from tests.faults.cluster import task
from tests.faults.cluster.faults import Fault
from tests.faults.cluster.ground import COUNT, MAX_ATTEMPTS, Ground

STRIKE_AT = 0.3
"""Of the parameters have an outcome."""
PATIENCE = 300.0
"""Seconds each step of a run may take, on two cores."""
LOOK_SECONDS = 0.2
HEARD_SECONDS = 6.0
"""A worker that lives says so every 3 s."""

Say = Callable[[str], None]


class Late(Exception):
    """What must come to pass did not, within `PATIENCE` seconds."""


@dataclass(slots=True)
class Outcome:
    """What came of a run under a fault.

    Attributes:
        problems: one sentence for each thing that must not be; empty: it withstood.
        recovery: seconds from the strike until all that had been called by then had an outcome in the ledger; what waits for
            another attempt after an exception is left out. None: it never had.
    """

    backend: str
    fault: Fault
    problems: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    recovery: float | None = None


class Trial:
    """Carries out one run, named `name`; the cluster is as it was found afterwards."""

    def __init__(self, ground: Ground, fault: Fault, name: str, say: Say) -> None:
        self._ground = ground
        self._fault = fault
        self._name = name
        self._say = say
        self._outcome = Outcome(ground.backend, fault)

    def run(self) -> Outcome:
        ground, fault, outcome = self._ground, self._fault, self._outcome
        ground.begin(self._name, fault.workers, fault.environment, *fault.values)
        try:
            self._until(self._is_due, "on its way")
            self._strike()
            self._until(lambda: ground.status().get("state") == "complete", "complete")
            self._until(self._is_quiet, "quiet")
        except Late as late:
            outcome.problems.append(str(late))
        evidence = ground.evidence()
        outcome.verdict = judge(COUNT, ground.expected, evidence, MAX_ATTEMPTS)
        outcome.problems += outcome.verdict.sentences()
        return outcome

    def _is_due(self) -> bool:
        if self._fault.calls:
            return self._fault.calls <= self._called()
        return bool(self._ground.status().get("done", 0) >= STRIKE_AT * COUNT)

    def _called(self) -> frozenset[int]:
        return frozenset(call.index for call in self._ground.calls())

    def _strike(self) -> None:
        """Let the fault come, last and go."""
        ground, fault, outcome = self._ground, self._fault, self._outcome
        victim = ground.victim(fault.component)
        self._say(f"{fault.name} comes")
        struck = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(fault.strike(ground, victim))
            called = frozenset(index for index in self._called() if not task.raises(index))
            self._until(lambda: called <= (ground.outcomes() or frozenset()), "recovered")
            outcome.recovery = time.monotonic() - struck
            self._say(f"recovered after {duration(outcome.recovery)}")
            self._until(lambda: time.monotonic() - struck >= fault.lasts, "over")
        self._say(f"it is over after {duration(time.monotonic() - struck)}")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise Late(f"not {what} within {PATIENCE:.0f} s: {self._situation()}")
            time.sleep(LOOK_SECONDS)

    def _is_quiet(self) -> bool:
        """Whether every worker is back with nothing in hand: one that was away may have old results to settle."""
        status = self._ground.status()
        if not status or status["ready"] or status["in_flight"] or status["delayed"]:
            return False
        heard = {worker["name"]: worker for worker in status["workers"] if worker["last_seen_seconds"] < HEARD_SECONDS}
        pods = self._ground.pods("worker")
        return all(pod.is_ready and pod.name in heard and not heard[pod.name]["computing"] for pod in pods)

    def _situation(self) -> str:
        pods = ", ".join(f"{pod.name} {pod.phase}{'' if pod.is_ready else ', not ready'}" for pod in self._ground.pods())
        return f"the pods are {pods}; the ledger says {json.dumps(self._ground.status())}"
