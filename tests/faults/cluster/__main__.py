"""`python -m tests.faults.cluster`, `make faults-cluster`: faults of a real cluster, judged from outside by the same checker.

A release of the chart computes one run for each fault, on each broker. When 30 % are done, the fault comes; at the end every
parameter must be accounted for exactly once. The nodes are as before afterwards, also after Ctrl-C, and nothing is left.

Exit status: 0 all withstood, 1 one did not, or could not be carried out, 130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from scripts.text import duration, table
from tests.e2e.cluster import unavailable
from tests.faults.cluster.faults import FAULTS
from tests.faults.cluster.ground import COUNT, Ground
from tests.faults.cluster.trial import Outcome, Trial
from tests.faults.page import PAGE, figures, replace_part
from worker.errors import TtgError
from worker.program import exit_status

BACKENDS = ("redis", "rabbitmq")
COLUMNS = ("injected", "lost", "wrong", "both", "over limit", "miscounted", "recomputed", "recovery, median", "worst")
TABLE_WIDTH = 130
NOTE = """\
Each run has {count} parameters of 0.05 s in chunks of 20, on 3 workers, one a node; some fail once or always, on purpose. The
fault comes when 30 % are done. *Recovery* is the time from there until everything that had been called by then has its outcome
in the ledger, the parameters that fail on purpose left out. A worker that vanishes is noticed by the lease of 10 s (Redis) or by
its connection (RabbitMQ): at once if that ends, after two to three heartbeats of 10 s if it stalls. *Recomputed* are calls made
again, which cost time and nothing else. The other columns must be 0: parameters without an outcome, with a wrong one, both done
and dead, called more often than the limit of attempts, and counters of the ledger that differ from its rows."""


class Campaign:
    """`rounds` runs for each of the faults on each of the brokers."""

    def __init__(self, backends: Sequence[str], names: Sequence[str], rounds: int, console: Console) -> None:
        self.outcomes: dict[str, list[Outcome]] = {backend: [] for backend in backends}
        self.versions: dict[str, str] = {}
        self._faults = [fault for fault in FAULTS if fault.name in names]
        self._rounds = rounds
        self._console = console

    def run(self) -> None:
        for backend, outcomes in self.outcomes.items():
            self._console.print(f"\n{backend}", style="bold")
            with Ground(backend) as ground:
                self.versions[backend] = ground.versions()
                for number in range(1, self._rounds + 1):
                    for fault in self._faults:
                        outcome = Trial(ground, fault, f"{fault.name}-{number}", self._say).run()
                        outcomes.append(outcome)
                        for problem in outcome.problems:
                            self._console.print(problem, style="bold red")
                        if outcome.problems:
                            self._console.print(ground.release.report(), style="dim")

    @property
    def problems(self) -> list[str]:
        """One sentence for each thing that must not be."""
        return [
            f"{backend}, {outcome.fault.name}: {problem}"
            for backend, outcomes in self.outcomes.items()
            for outcome in outcomes
            for problem in outcome.problems
        ]

    def rows(self, backend: str) -> list[tuple[str, ...]]:
        """The fault, and what `COLUMNS` name."""
        found = []
        for fault in self._faults:
            outcomes = [outcome for outcome in self.outcomes[backend] if outcome.fault is fault]
            if outcomes:
                found.append((fault.name, *cells(outcomes)))
        return found

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/]  {text}")


def cells(outcomes: Sequence[Outcome]) -> list[str]:
    """In the order of `COLUMNS`."""
    verdicts = [outcome.verdict for outcome in outcomes]
    must_be_0 = ("lost", "wrong", "both", "over_limit", "miscounted")
    recoveries = [outcome.recovery for outcome in outcomes if outcome.recovery is not None]
    return [
        str(len(outcomes)),
        *(str(sum(len(getattr(verdict, name)) for verdict in verdicts)) for name in must_be_0),
        str(sum(verdict.recomputed for verdict in verdicts)),
        *(f"{of(recoveries):.1f} s" if recoveries else "never" for of in (statistics.median, max)),
    ]


def show(campaign: Campaign, console: Console) -> None:
    """A table of all, as `make demo-matrix` has one."""
    shown = table(("broker", "fault", *COLUMNS), names=2)
    for backend in campaign.outcomes:
        for row in campaign.rows(backend):
            shown.add_row(backend, *row)
    console.width = max(console.width, TABLE_WIDTH)
    console.print()
    console.print(shown)


def markdown(campaign: Campaign, command: str, seconds: float) -> str:
    """The part of the page."""
    machine = f"{os.cpu_count()} cores with a load of {os.getloadavg()[2]:.0f}"
    lines = [f"`{command}`, {datetime.datetime.now(datetime.UTC).date()}, {duration(seconds)} on {machine}.", ""]
    lines += [NOTE.format(count=COUNT)]
    lines += ["", "| fault | what is done |", "|---|---|", *(f"| {fault.name} | {fault.what} |" for fault in FAULTS)]
    for backend in campaign.outcomes:
        lines += ["", f"### {backend}", "", f"{campaign.versions[backend]}.", ""]
        lines += figures(("fault", *COLUMNS), campaign.rows(backend))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--backend", choices=BACKENDS, help="only this broker (default: both)")
    parser.add_argument("--fault", choices=names, help="only this fault (default: all)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="runs for each (default: 1)")
    parser.add_argument("--page", action="store_true", help=f"write what was measured into {PAGE.name}")
    chosen = parser.parse_args(argv)
    if reason := unavailable():
        raise TtgError(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no node stays as a fault left it
    console = Console(highlight=False, soft_wrap=True)
    campaign = Campaign(
        [chosen.backend] if chosen.backend else BACKENDS, [chosen.fault] if chosen.fault else names, chosen.rounds, console
    )
    began = time.monotonic()
    campaign.run()
    show(campaign, console)
    if chosen.page:
        given = {"BACKEND": chosen.backend, "FAULT": chosen.fault, "ROUNDS": chosen.rounds if chosen.rounds > 1 else None}
        command = " ".join(["make faults-cluster", *(f"{name}={value}" for name, value in given.items() if value), "PAGE=yes"])
        replace_part("cluster", markdown(campaign, command, time.monotonic() - began))
    for problem in campaign.problems:
        console.print(problem, style="bold red")
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
