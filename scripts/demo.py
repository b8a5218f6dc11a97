"""`make demo`: a fractal computed by three workers on this machine, one of which is killed on the way.

Seeds a grid of Lyapunov exponents, starts the ledger and three workers, kills one of them with SIGKILL at 30 %, starts a
replacement as Kubernetes would, and draws the picture from the ledger: a parameter that got lost would be a hole in it.

Exit status: as `ttg local`.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.local import environment, parser, run
from scripts.parameters import from_settings
from scripts.picture import draw
from scripts.processes import Processes
from scripts.specification import Specification
from scripts.watch import Watch
from worker.config import Settings
from worker.program import exit_status

KILL_AT = 0.3


class Assassin:
    """Kills the first worker at `KILL_AT` of the run, and measures how long its chunks are gone."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._killed_at: float | None = None
        self._lost: list[tuple[int, int]] = []
        self.recovery_seconds: float | None = None

    def __call__(self, status: dict[str, Any], programs: Processes) -> None:
        if self._killed_at is None:
            if status["done"] >= KILL_AT * status["total"]:
                self._kill(status, programs)
        elif self.recovery_seconds is None and _all_done(programs.ledger_path, self._lost):
            self.recovery_seconds = time.monotonic() - self._killed_at
            self._watch.say(f"what it had in hand is in the ledger, {self.recovery_seconds:.1f} s after the kill")

    def _kill(self, status: dict[str, Any], programs: Processes) -> None:
        victim = programs.workers[0]
        rows = [row for row in status["workers"] if row["name"] == victim.name]
        self._lost = [_span(name) for row in rows for name in row["computing"]]
        victim.signal(signal.SIGKILL)
        self._killed_at = time.monotonic()
        held = ", ".join(f"{start}-{stop - 1}" for start, stop in self._lost) or "nothing"
        self._watch.say(f"{victim.name} is killed with SIGKILL at {status['done'] / status['total']:.0%}, holding {held}")


def _span(name: str) -> tuple[int, int]:
    first, _, last = name.partition("-")
    return int(first), int(last) + 1


def _all_done(ledger: Path, spans: Sequence[tuple[int, int]]) -> bool:
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM results WHERE parameter >= ? AND parameter < ?"
        return all(connection.execute(query, span).fetchone()[0] == span[1] - span[0] for span in spans)


def main() -> int:
    own = argparse.ArgumentParser(prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--backend", default="redis", help="redis (default) or rabbitmq")
    own.add_argument("--steps", type=int, default=240, metavar="N", help="the picture has N x N parameters (default: 240)")
    own.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR", help="default: demo-output")
    chosen = own.parse_args()
    grid = f"a=2:4:{chosen.steps},b=2:4:{chosen.steps}"
    arguments = parser().parse_args(["--task", "examples.lyapunov:exponent", "--grid", grid, "--backend", chosen.backend])
    given = {**environment(arguments), "CHUNK_SIZE": str(chosen.steps)}
    settings = Settings.from_environ(given)
    given["RUN_ID"] = Specification.from_settings(settings, from_settings(settings)).run
    folder: Path = chosen.output
    shutil.rmtree(folder, ignore_errors=True)
    with Watch() as watch:
        assassin = Assassin(watch)
        status = run(given, folder, 3, watch, assassin, recovery_seconds=lambda: assassin.recovery_seconds)
    if status in (0, 3):
        picture = draw(folder / "ledger.sqlite", folder / "picture.png")
        print(f"picture: {picture}")
    return status


if __name__ == "__main__":
    sys.exit(exit_status(main))
