"""Statuses as the ledger gives them, for the tests of what shows them."""

from __future__ import annotations

import time
from typing import Any

from scripts.specification import Specification
from scripts.status import status
from scripts.tally import DEAD, DONE, Counters, Tally, Worker
from worker.brokers.base import Depth

RUN = Specification("run-1", "stamp", "module:function", "digest", "grid a=0:1:40 x b=0:1:50", 2000, 7)
NOW = 1_000_000.0


def a_status(
    done: int = 0, dead: int = 0, *, workers: tuple[Worker, ...] = (), counters: Counters | None = None, **others: Any
) -> dict[str, Any]:
    """What `/status` answers when so many of 2,000 parameters are done and dead."""
    counters = counters or Counters(computed=done, chunks=done // 100, first=NOW - 10.0, last=NOW - 1.0)
    states = bytearray([DONE] * done + [DEAD] * dead).ljust(RUN.total, b"\0")
    tally = Tally(states, counters, workers)
    tally.rate.add(NOW - 1.0, done)
    tally.rate.add(NOW, done + 150)
    return status(RUN, tally, NOW, depth=Depth(ready=12, in_flight=3, delayed=1, results=0, dead_letters=0), **others)


def a_worker(name: str, state: str = "ready", **others: Any) -> Worker:
    return Worker(name, "node-1", state, "100-199", done=1100, seen=NOW - 0.5, **others)


def an_event(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "time": time.time(), "kind": "kind", "text": text}
