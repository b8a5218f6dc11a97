"""What the tests of the ledger's parts have in common: a run of no-op parameters, and its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.intake import Intake
from scripts.parameters import ParameterSpace, from_settings
from scripts.specification import Specification
from scripts.store import Store
from scripts.tally import Tally
from worker.config import Settings
from worker.messages import Failure, Result
from worker.space import Ranges, size

TASK = "tests.unit.ledgers:task"


def task(parameter: int) -> int:
    return parameter


def settings_of(total: int, **given: Any) -> Settings:
    return Settings(task=TASK, parameter_count=total, run_id="test", chunk_size=10, **given)


def space_of(total: int) -> ParameterSpace:
    return from_settings(settings_of(total))


def run_of(total: int, **given: Any) -> Specification:
    return Specification.from_settings(settings_of(total, **given), space_of(total))


def result(ranges: Ranges, values: list[str] | None = None, *, total: int = 100, **given: Any) -> bytes:
    """An encoded result; the value of a parameter is its index unless `values` says otherwise."""
    if values is None:
        values = [str(index) for start, stop in ranges for index in range(start, stop)]
    assert len(values) == size(ranges)
    given = {"stamp": run_of(total).stamp, "worker": "w1", "node": "n1", "chunk": "0-9", **given}
    return Result(run="test", ranges=ranges, values=values, **given).encode()


def failed(*indices: int, error: str = "ValueError: no", attempt: int = 4) -> list[Failure]:
    return [Failure(index, error, attempt) for index in indices]


class Books:
    """A store and what belongs to it, to be closed."""

    def __init__(self, folder: Path, total: int = 100, **given: Any) -> None:
        settings = settings_of(total, **given)
        self.path = folder / "ledger.sqlite"
        self.store = Store(self.path, run_of(total), 0.0, accept_changed_code=settings.accept_changed_code)
        self.tally: Tally = self.store.load()
        self.intake = Intake(
            self.store.began, self.store, self.tally, accept_changed_code=settings.accept_changed_code, clock=lambda: 1000.0
        )

    def results(self) -> dict[int, str]:
        return self.store.values(0, len(self.tally.cells))

    def dead(self) -> list[int]:
        return [index for index, state in enumerate(self.store.load().cells.states) if state == 3]

    def close(self) -> None:
        self.store.close()
