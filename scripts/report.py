"""The report at the end of a run: for people on the terminal, for programs as report.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.text import count, duration, rate


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run. Times are seconds.

    Attributes:
        run, task, space: its name, its function and its parameters, for people.
        state: `complete`, unless somebody looks earlier.
        total: parameters; each is in exactly one of `done`, `dead` and `missing`.
        retried: failed attempts of parameters that were tried again.
        recomputed: parameters that were, or may have been, computed more than once: the cost of failure.
        duplicates: outcomes of parameters that had one.
        disagreements: duplicates with another value than the first.
        refused: results that were set aside.
        chunks: results of chunks that arrived.
        workers: workers that were ever heard of.
        seconds: from the first outcome to the last new one.
        parameters_per_second: over those seconds; 0 if there were none.
        task_seconds: spent in the task function, by all workers.
        recovery_seconds: from a kill until what was lost was in the ledger; None if nobody measured it.
        changed_code: what other code than the run began with computed: first and last index, its stamp.
    """

    run: str
    task: str
    space: str
    state: str
    total: int
    done: int
    dead: int
    missing: int
    retried: int
    recomputed: int
    duplicates: int
    disagreements: int
    refused: int
    chunks: int
    workers: int
    seconds: float
    parameters_per_second: float
    task_seconds: float
    recovery_seconds: float | None
    changed_code: Sequence[Sequence[Any]]

    @classmethod
    def from_status(cls, status: Mapping[str, Any], *, recovery_seconds: float | None = None) -> Self:
        """The report of the run that the ledger's `/status` describes."""
        outcomes, seconds = status["done"] + status["dead"], status["seconds"]
        derived: dict[str, Any] = {
            "workers": len(status["workers"]),
            "parameters_per_second": round(outcomes / seconds, 3) if seconds else 0.0,
            "recovery_seconds": recovery_seconds,
        }
        return cls(**{name: derived[name] if name in derived else status[name] for name in cls.__dataclass_fields__})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    def show(self, console: Console | None = None) -> None:
        """Print it; without colour when that is no terminal."""
        console = console or Console(highlight=False)
        console.print(Text.assemble((self.run, "bold"), f"  {self.task} over {self.space}"), soft_wrap=True)
        console.print(self._headline(), soft_wrap=True)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=12, style="dim")
        table.add_column(justify="right")
        table.add_column(style="dim")
        for row in self._rows():
            table.add_row(*row)
        console.print(table)
        for first, last, stamp in self.changed_code:
            console.print(Text(f"parameters {first}-{last} were computed by other code, {stamp}", "yellow"), soft_wrap=True)

    def _headline(self) -> Text:
        complete = self.state == "complete"
        return Text.assemble(
            (self.state, "bold green" if complete and not self.dead else "bold yellow"),
            f": {count(self.done)} of {count(self.total)} parameters in {duration(self.seconds)}",
            f", {rate(self.parameters_per_second)} a second" if self.seconds else "",
        )

    def _rows(self) -> list[tuple[str, Text, str]]:
        def bad_if_any(value: int) -> Text:
            return Text(count(value), "bold red" if value else "")

        share = f"{self.recomputed / self.total:.1%} of the parameters: the cost of failure" if self.recomputed else ""
        rows = [
            ("chunks", Text(count(self.chunks)), f"by {count(self.workers)} workers"),
            ("retried", Text(count(self.retried)), "failed attempts that were tried again" if self.retried else ""),
            ("recomputed", Text(count(self.recomputed)), share),
            ("duplicates", Text(count(self.duplicates)), f"{count(self.disagreements)} disagree"),
            ("dead", bad_if_any(self.dead), "failed their last attempt; `ttg dead list` shows why" if self.dead else ""),
            ("missing", bad_if_any(self.missing), ""),
        ]
        if self.refused:
            rows.insert(4, ("refused", bad_if_any(self.refused), "results in the dead-letter queue"))
        if self.recovery_seconds is not None:
            rows.append(("recovery", Text(duration(self.recovery_seconds)), "from the kill until its chunks were in the ledger"))
        return rows
