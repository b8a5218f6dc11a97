"""One program of a run, started again whenever it ends, as Kubernetes would."""

from __future__ import annotations

import signal
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scripts.processes import Program, start
from tests.faults.program import PLAN, Plan
from worker.program import INTERRUPTED

REFUSED = 1
"""The exit status with a sentence: the same again may help a little later, not at once."""
BACK_OFF_SECONDS = 0.2


class Actor:
    """A role of the run and the process that fills it now. Its output is in `folder/name.log`.

    Args:
        plan: what the schedule adds. The stops are for the first process only.
        done: the exit status after which it is not started again; None: always again.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        plan: Plan,
        *,
        done: int | None = None,
    ) -> None:
        self.name = name
        self.plan = plan
        self.starts = 0
        self._module = module
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._done = done
        self._start_at = 0.0
        self._asked = False  # the process that fills the role now, by SIGTERM
        self.is_over = False
        self.program: Program | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that fills the role now, None between two of them."""
        return self.program.process.pid if self.program is not None and self.program.process.poll() is None else None

    def look_after(self, now: float) -> None:
        """Start it, or start it again if it ended and that helps."""
        if self.is_over or self.pid is not None or now < self._start_at:
            return
        if self.program is not None:
            status = self.program.process.returncode
            self.program = None
            if status == self._done:
                self.is_over = True
                return
            if status == REFUSED:
                self._start_at = now + BACK_OFF_SECONDS
                return
        plan = self.plan if self.starts == 0 else replace(self.plan, stops=())
        self.starts += 1
        self._asked = False
        environment = {**self._environment, PLAN: plan.encode()}
        self.program = start(
            self.name, "tests.faults.program", self._module, *self._arguments, environment=environment, logs=self._folder
        )

    def signal(self, number: signal.Signals) -> None:
        """Send it, if there is a process."""
        self._asked = self._asked or number is signal.SIGTERM
        if self.program is not None:
            self.program.signal(number)

    def children(self) -> list[int]:
        """The processes that it has started and that live."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def set_clock(self, seconds: float) -> None:
        """Let its `time.time` be off by so much; `plan.skew` must name the file."""
        Path(self.plan.skew).write_bytes(struct.pack("d", seconds))

    def ask_to_end(self) -> None:
        """SIGTERM; it is not started again."""
        self.is_over = True
        if not self._asked:  # a second one would end it without its farewell
            self.signal(signal.SIGTERM)

    def await_end(self, patience: float) -> str | None:
        """Wait for its end, which SIGKILL brings about after `patience` seconds. Returns what was wrong with it."""
        if self.program is None:
            return None
        process = self.program.process
        deadline = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < deadline:
            self.signal(signal.SIGCONT)  # it may come to one of its stops on the way
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        if process.poll() is None:
            self.kill()
            return f"{self.name} did not end within {patience:.0f} s of SIGTERM"
        # SIGTERM itself ends a program that is just starting, or has finished: its handler is there while it works.
        if process.returncode in (0, self._done, REFUSED, INTERRUPTED, -signal.SIGTERM):
            return None
        return f"{self.name} ended with status {process.returncode} after SIGTERM"

    def kill(self) -> None:
        """SIGKILL, and wait for it."""
        self.is_over = True
        if self.program is not None:
            self.signal(signal.SIGKILL)
            self.program.process.wait()
