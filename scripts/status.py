"""The run at a glance: what the ledger's `/status` answers."""

from __future__ import annotations

from typing import Any

from scripts.specification import Specification
from scripts.tally import Tally, Worker
from worker.brokers.base import Depth


def status(
    specification: Specification,
    tally: Tally,
    now: float,
    *,
    depth: Depth | None = None,
    live: list[Worker] | None = None,
    problem: str = "",
    repairing: bool = False,
    changed_code: list[list[Any]] | None = None,
    events: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """JSON. Times are seconds since the epoch, None before there is one; what only the broker knows is None without `depth`.

    Args:
        live: workers that were heard from lately, for what is in flight where the broker does not tell.
        changed_code: ranges [first, last, stamp] that other code than the run began with computed.
        events: the last ones.
    """
    cells, counters = tally.cells, tally.counters
    in_flight = depth.in_flight if depth else None
    if in_flight is None and live is not None:
        in_flight = sum(len(worker.computing) for worker in live)
    rate = tally.rate.value
    end = counters.last if tally.is_complete else now
    return {
        "run": specification.run,
        "task": specification.task,
        "space": specification.description,
        "stamp": specification.stamp,
        "state": _state(tally, problem, repairing),
        "problem": problem,
        "total": len(cells),
        "done": cells.done,
        "dead": cells.dead,
        "missing": cells.missing,
        "retried": counters.retried,
        "duplicates": counters.duplicates,
        "disagreements": counters.disagreements,
        "refused": counters.refused,
        "computed": counters.computed,
        "recomputed": counters.recomputed,
        "chunks": counters.chunks,
        "ready": depth.ready if depth else None,
        "in_flight": in_flight,
        "delayed": depth.delayed if depth else None,
        "dead_letters": depth.dead_letters if depth else None,
        "rate": round(rate, 3),
        "seconds": round(end - counters.first, 3) if counters.first else 0.0,
        "eta_seconds": round(cells.missing / rate, 3) if rate > 0 else (0.0 if tally.is_complete else None),
        "task_seconds": round(counters.seconds, 3),
        "first": counters.first or None,
        "last": counters.last or None,
        "workers": [_worker(worker, now) for worker in tally.workers.values()],
        "changed_code": changed_code or [],
        "events": events or [],
    }


def _state(tally: Tally, problem: str, repairing: bool) -> str:
    """Waiting: no outcome came yet. Failing: the ledger cannot go on, `problem` says why, and it goes on by itself."""
    if tally.is_complete:
        return "complete"
    if problem:
        return "failing"
    if repairing:
        return "repairing"
    return "running" if tally.counters.first else "waiting"


def _worker(worker: Worker, now: float) -> dict[str, Any]:
    return {
        "name": worker.name,
        "node": worker.node,
        "state": worker.state,
        "chunk": worker.computing[0] if worker.computing else worker.chunk,
        "computing": list(worker.computing),
        "done": worker.done,
        "retried": worker.retried,
        "dead": worker.dead,
        "seconds": round(worker.seconds, 3),
        "last_seen_seconds": round(max(now - worker.seen, 0.0), 3),
    }
