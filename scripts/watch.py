"""`ttg watch [URL]`: follow a run in the terminal, until it is complete.

One screen: the bar with rate and time left, five counters, the workers; events go by above it. Plain lines, one a change and
at most one a second, when standard output is no terminal. At the end, the report. The ledger may go away and come back.

URL is the ledger's; default: LEDGER_URL, else http://127.0.0.1:8080.

Exit status: 0 complete, 3 complete with dead parameters, 1 error, 130 interrupted. With --once: 0, or 1 if the ledger is away.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scripts.report import Report
from scripts.text import count, duration, rate
from worker.config import Settings
from worker.errors import TtgError
from worker.program import exit_status

COMPLETE_WITH_DEAD = 3
POLL_SECONDS = 0.5
PLAIN_SECONDS = 1.0
"""Least time between two plain lines."""
COUNTERS = ("ready", "in flight", "delayed", "dead", "done")
"""The first three count chunks at the broker, the others parameters in the ledger; named alike for both brokers."""
STYLES = {"complete": "bold green", "running": "bold", "waiting": "dim", "repairing": "bold yellow", "failing": "bold red"}

Status = Mapping[str, Any]


class LedgerAway(TtgError):
    """The ledger does not answer."""


class Watch:
    """The view. It is fed with the ledger's `/status` by whoever has it.

    Args:
        console: where to write; its being a terminal decides between a screen and lines.
        clock: seconds, for the pace of plain lines.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(highlight=False)
        self._clock = clock
        self._live: Live | None = None
        self._event = 0  # the last one that was shown
        self._waiting = ""  # a plain line whose time has not come
        self._line = ""
        self._written = -PLAIN_SECONDS

    def update(self, status: Status) -> None:
        """Show a status, and the events in it that are new."""
        for event in status["events"]:
            if event["id"] > self._event:
                self._event = event["id"]
                self.say(event["text"], event["time"])
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False, transient=True)
                self._live.start()
            self._live.update(screen(status, self._console.height), refresh=True)
            return
        line = plain(status)
        if line not in (self._line, self._waiting):
            self._waiting = line
        if self._waiting and self._clock() - self._written >= PLAIN_SECONDS:
            self._flush()

    def say(self, text: str, when: float | None = None) -> None:
        """An event, `when` seconds since the epoch (default: now)."""
        self._console.print(Text.assemble((time.strftime("%H:%M:%S", time.localtime(when)), "dim"), f"  {text}"), soft_wrap=True)

    def close(self) -> None:
        """Take the screen away; what was said stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self.say(self._waiting)
            self._line, self._waiting, self._written = self._waiting, "", self._clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def plain(status: Status) -> str:
    """A status on one line."""
    parts = [status["state"], f"{_share(status):.1%}", f"{count(status['done'])}/{count(status['total'])} done"]
    if status["state"] != "complete":
        parts += [f"{rate(status['rate'])}/s", *_time_left(status)]
    parts += [f"{name} {value}" for name, value in _counters(status).items() if name != "done"]
    parts += [f"retried {count(status['retried'])}"]
    if status["problem"]:
        parts.append(status["problem"])
    return "  ".join(parts)


def screen(status: Status, height: int) -> RenderableType:
    """A status on `height` lines of a terminal at most."""
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    title.add_column(justify="right", no_wrap=True)
    title.add_row(
        Text.assemble((status["run"], "bold"), (f"  {status['task']} over {status['space']}", "dim")),
        Text(status["state"], STYLES.get(status["state"], "")),
    )
    bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    done = status["done"] + status["dead"]
    speed = [f"{rate(status['rate'])}/s", *_time_left(status)]
    bar.add_row(
        ProgressBar(total=status["total"], completed=done, complete_style="green", finished_style="green"),
        Text("  ".join([f"{_share(status):.1%}", f"{count(done)} of {count(status['total'])}", *speed])),
    )
    counters = Text()
    for name, value in [*_counters(status).items(), ("retried", count(status["retried"]))]:
        alarming = name == "dead" and status["dead"]
        counters.append(f"{name} ", "dim").append(value, "bold red" if alarming else "bold").append("   ")
    lines: list[RenderableType] = ["", title, bar, counters]
    if status["problem"]:
        lines.append(Text(status["problem"], "bold red", no_wrap=True, overflow="ellipsis"))
    return Group(*lines, "", *_workers(status["workers"], rows=max(height - 10, 1)))


def _workers(workers: Sequence[Mapping[str, Any]], rows: int) -> list[RenderableType]:
    """A table of those that are there, and a line about the others."""
    here = [worker for worker in workers if worker["state"] != "gone"]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for name in ("worker", "node", "state", "chunk"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("done", "retried", "dead", "last seen"):
        table.add_column(name, justify="right", no_wrap=True)
    for worker in here[:rows]:
        ready = worker["state"] == "ready"
        table.add_row(
            worker["name"],
            worker["node"],
            worker["state"],
            worker["chunk"],
            count(worker["done"]),
            count(worker["retried"]),
            count(worker["dead"]),
            duration(worker["last_seen_seconds"]),
            style="" if ready else "yellow",
        )
    others = [(len(here) - rows, "more"), (len(workers) - len(here), "gone")]
    rest = ", ".join(f"{number} {what}" for number, what in others if number > 0)
    return [table, Text(rest, "dim")] if rest else [table]


def _counters(status: Status) -> dict[str, str]:
    return {name: count(status[name.replace(" ", "_")]) for name in COUNTERS}


def _share(status: Status) -> float:
    """Of the parameters with an outcome; rounded down, so that 100 % means all."""
    return int(1000 * (status["done"] + status["dead"]) / status["total"]) / 1000


def _time_left(status: Status) -> list[str]:
    seconds = status["eta_seconds"]
    return [f"{duration(seconds)} left"] if seconds else []


def fetch(url: str) -> dict[str, Any]:
    """The status of the ledger at `url`.

    Raises:
        LedgerAway: there is none at this moment.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/status", timeout=5) as answer:  # noqa: S310  # http(s), by Settings
            status = dict(json.load(answer))
    except (OSError, ValueError, TypeError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise LedgerAway(f"the ledger at {url} does not answer ({reason}); set LEDGER_URL to where it is") from None
    if not status:
        raise LedgerAway(f"the ledger at {url} is starting; try again")
    return status


def follow(url: str, watch: Watch, *, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Show the run until it is complete; returns its last status. A ledger that is away is waited for."""
    away = False
    while True:
        try:
            status = fetch(url)
        except LedgerAway as error:
            if not away:
                watch.say(f"{error}; waiting for it")
            away = True
        else:
            if away:
                watch.say("the ledger answers")
            away = False
            watch.update(status)
            if status["state"] == "complete":
                return status
        sleep(POLL_SECONDS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ttg watch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", metavar="URL", help="where the ledger is")
    parser.add_argument("--once", action="store_true", help="print what is known now, and end")
    arguments = parser.parse_args(argv)
    environ = {**os.environ, **({"LEDGER_URL": arguments.url} if arguments.url else {})}
    url = Settings.from_environ(environ).ledger_url
    console = Console(highlight=False)
    if arguments.once:
        status = fetch(url)
        console.print(screen(status, height=10**6) if console.is_terminal else Text(plain(status)), soft_wrap=True)
        return 0
    with Watch(console) as watch:
        status = follow(url, watch)
    report = Report.from_status(status)
    report.show(console)
    return COMPLETE_WITH_DEAD if report.dead else 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
