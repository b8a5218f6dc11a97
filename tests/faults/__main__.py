"""`python -m tests.faults`, `make faults`: random schedules of faults on real programs and brokers, judged from outside.

Each schedule is drawn from the broker and a number; a run under it must end with every parameter accounted for exactly once. One
that does not is printed with the command that replays it, and its logs are kept.

Exit status: 0 all withstood, 1 one did not, 130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console

from scripts.text import table
from tests.faults.figures import COLUMNS, rows, summary
from tests.faults.outcome import Outcome
from tests.faults.page import PAGE, figures, replace_part
from tests.faults.schedule import draw
from tests.faults.servers import server
from tests.faults.trial import Trial
from worker.errors import TtgError
from worker.program import INTERRUPTED, exit_status

BACKENDS = ("redis", "rabbitmq")
LANES = 3
"""Runs under way at once, for each broker; each has a server of its own. A run mostly waits: three fill one core."""
SAY_SECONDS = 15.0
TABLE_WIDTH = 120


class Campaign:
    """Schedules `first` to `first + count - 1` on each of `backends`."""

    def __init__(self, backends: Sequence[str], first: int, count: int, lanes: int, folder: Path, console: Console) -> None:
        self.outcomes: dict[str, list[Outcome]] = {backend: [] for backend in backends}
        self.versions: list[str] = []
        self._numbers: dict[str, SimpleQueue[int]] = {backend: SimpleQueue() for backend in backends}
        for numbers in self._numbers.values():
            for number in range(first, first + count):
                numbers.put(number)
        self._total = count * len(backends)
        self._lanes = min(lanes, count)
        self._folder = folder
        self._console = console
        self._stop = threading.Event()
        self._said = time.monotonic()

    def run(self) -> None:
        """All of them; Ctrl-C lets the runs under way come to their end first."""
        with ThreadPoolExecutor(self._lanes * len(self.outcomes)) as pool:
            lanes = [pool.submit(self._lane, backend, lane) for backend in self.outcomes for lane in range(self._lanes)]
            try:
                for lane in as_completed(lanes):
                    lane.result()
            except BaseException:
                self._stop.set()
                raise

    def _lane(self, backend: str, lane: int) -> None:
        with server(backend, self._folder / f"{backend}-server-{lane}") as broker:
            if lane == 0:
                self.versions.append(broker.version())
            while not self._stop.is_set():
                try:
                    number = self._numbers[backend].get_nowait()
                except Empty:
                    return
                schedule = draw(backend, number)
                folder = self._folder / f"{backend}-{number}"
                folder.mkdir()
                try:
                    outcome = Trial(schedule, broker, folder).run()
                except Exception as error:  # whatever it is, the other schedules go on
                    outcome = Outcome(schedule, [f"the trial itself failed: {error!r}"])
                    broker.restart(empty=True)
                self._take(outcome, folder)

    def _take(self, outcome: Outcome, folder: Path) -> None:
        schedule = outcome.schedule
        self.outcomes[schedule.backend].append(outcome)
        if outcome.problems:
            self._console.print(f"\n{schedule}", style="bold red")
            for problem in outcome.problems:
                self._console.print(f"  {problem}")
            self._console.print(f"  logs: {folder}")
            self._console.print(f"  again: make faults BACKEND={schedule.backend} SEED={schedule.number} SCHEDULES=1\n")
        else:
            shutil.rmtree(folder)
        if time.monotonic() - self._said >= SAY_SECONDS:
            self._said = time.monotonic()
            done = [outcome for outcomes in self.outcomes.values() for outcome in outcomes]
            failed = sum(bool(outcome.problems) for outcome in done)
            self._console.print(f"{len(done):,} of {self._total:,} schedules, {failed} with a problem")


def show(campaign: Campaign, console: Console) -> None:
    for backend, outcomes in campaign.outcomes.items():
        shown = table(COLUMNS, names=1)
        for row in rows(outcomes):
            shown.add_row(*row.cells())
        console.print(f"\n{backend}", style="bold")
        console.print(shown)
        console.print(summary(outcomes))


def markdown(campaign: Campaign, command: str, seconds: float) -> str:
    """The part of the page."""
    lines = [
        f"`{command}`, {datetime.datetime.now(datetime.UTC).date()}: {seconds / 60:.0f} minutes on {os.cpu_count()} cores with "
        f"a load of {os.getloadavg()[2]:.0f}; "
        f"{', '.join(sorted(campaign.versions))}, Python {platform.python_version()} and {platform.system()} "
        f"{platform.release()}.",
    ]
    for backend, outcomes in campaign.outcomes.items():
        lines += ["", f"### {backend}", "", f"{summary(outcomes)}.", ""]
        lines += figures(COLUMNS, [row.cells() for row in rows(outcomes)])
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=BACKENDS, help="only this broker (default: both)")
    parser.add_argument("--schedules", type=int, default=100, metavar="N", help="schedules for each broker (default: 100)")
    parser.add_argument("--seed", type=int, default=0, metavar="NUMBER", help="number of the first schedule (default: 0)")
    parser.add_argument("--lanes", type=int, default=LANES, metavar="N", help=f"runs at once, per broker (default: {LANES})")
    parser.add_argument("--page", action="store_true", help=f"write what was measured into {PAGE.name}")
    chosen = parser.parse_args(argv)
    if chosen.schedules < 1 or chosen.lanes < 1:
        raise TtgError(f"--schedules {chosen.schedules} --lanes {chosen.lanes}: both must be at least 1")
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    folder = Path(tempfile.mkdtemp(prefix="ttg-faults-"))
    campaign = Campaign(
        [chosen.backend] if chosen.backend else BACKENDS, chosen.seed, chosen.schedules, chosen.lanes, folder, console
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: brokers and programs are ended first
    began = time.monotonic()
    try:
        campaign.run()
    except KeyboardInterrupt:
        console.print("interrupted")
        shutil.rmtree(folder)
        return INTERRUPTED
    show(campaign, console)
    if chosen.page:
        backend = f" BACKEND={chosen.backend}" if chosen.backend else ""
        command = f"make faults SCHEDULES={chosen.schedules} SEED={chosen.seed}{backend} PAGE=yes"
        replace_part("machine", markdown(campaign, command, time.monotonic() - began))
    if any(outcome.problems for outcomes in campaign.outcomes.values() for outcome in outcomes):
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
