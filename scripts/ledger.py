"""`python -m scripts.ledger`: the record of which parameter has which value, and the only judge of completeness.

It takes results in batches, commits them to SQLite, and only then tells the broker; it publishes again what is missing when
nothing moves; it serves what it knows over HTTP (LEDGER_HOST, LEDGER_PORT). Killed at any moment and started again, it goes on.

Exit status: 0 after SIGTERM, or complete with --until-complete; 1 with one sentence.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty
from typing import TypeVar

from scripts import reading
from scripts.api import Desk, Server, application
from scripts.intake import Intake
from scripts.parameters import ParameterSpace, from_settings
from scripts.repair import BATCH, MESSAGES, Patience, Repair, task_bodies
from scripts.specification import Specification
from scripts.status import status
from scripts.store import Store, Unwritable
from scripts.tally import GONE, RETRIED, SILENT
from worker import log
from worker.brokers import Broker, Delivery, Depth, Queue, connect
from worker.config import Settings
from worker.errors import BrokerUnavailable, TtgError
from worker.program import exit_status
from worker.retry import reconnecting
from worker.signals import StopSignal
from worker.space import compress

RECEIVE_SECONDS = 0.5
"""The longest wait for results: how late a request or a stop is noticed."""
LAST_SECONDS = 5.0
"""How long a ledger that was asked to stop takes results that are there."""
LINGER_SECONDS = 0.05
LINGER_RESULTS = 64
"""After a batch of fewer results: the next one is worth a commit and its fsync only when something has gathered."""
BATCH_BYTES = 16 * 2**20
BATCH_RESULTS = 1000
"""Results of a batch: as many as have about `BATCH_BYTES` together, and no more than this."""
TICK_SECONDS = 1.0
"""How often the broker's depth is asked for, and repair considered."""
STATUS_SECONDS = 0.2
UNWRITABLE_SECONDS = (1.0, 10.0)
"""First and longest wait for room on the disk."""
SHOWN = 20
"""Events and ranges of changed code in the status."""

logger = log.get("ledger")
Value = TypeVar("Value")


class Ledger:
    """The loop. `run` returns when it was asked to stop, or when the run is complete if that is wanted.

    Args:
        specification: the run as it is asked for now; the store knows the code it began with.
        broker: not yet open.
        desk: where the HTTP server finds the status, and leaves requests.
        clock: seconds since the epoch, never set back or forward (`steady_clock`): intervals are measured by it too.
        sleep: waits some seconds, or until a stop.
    """

    def __init__(
        self,
        settings: Settings,
        specification: Specification,
        space: ParameterSpace,
        store: Store,
        broker: Broker,
        *,
        desk: Desk,
        stop: StopSignal,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._settings = settings
        self._run = specification
        self._space = space
        self._store = store
        self._broker = broker
        self._desk = desk
        self._stop = stop
        self._clock = clock = clock or steady_clock()
        self._sleep = sleep or stop.sleep
        self._tally = store.load()
        self._intake = Intake(store.began, store, self._tally, accept_changed_code=settings.accept_changed_code, clock=clock)
        self._limit = 16  # of a batch, until the size of a result is known
        self._depth: Depth | None = None
        self._patience = Patience(settings.repair_seconds, settings.lease_seconds, clock())
        self._repair: Repair | None = None
        self._repaired = 0.0
        self._was_complete = self._tally.is_complete
        self._listening_since = self._ticked = self._shown = 0.0
        self._show()

    def run(self, *, until_complete: bool = False) -> None:
        """Take results until asked to stop.

        Raises:
            BrokerRefused: the broker said no.
            DamagedLedger: the file is damaged.
        """
        cells = self._tally.cells
        self._note("start", f"the ledger started with {cells.done} done, {cells.dead} dead, {cells.missing} missing")
        try:
            self.connect()
            while not self._stop.requested and not (until_complete and self._tally.is_complete):
                self.turn()
            self._take_the_last()
            self._broker.flush()
        except BrokerUnavailable as error:  # only while stopping: what is not settled comes again
            logger.warning("left without the broker", extra={"action": "stop", "error": str(error)})
        finally:
            self._broker.close()
            self._show()
        logger.info("stopped", extra={"action": "stop", "missing": cells.missing})

    def _take_the_last(self) -> None:
        """What is at the broker already, so that workers that were stopped just before us did not work in vain."""
        until = self._clock() + LAST_SECONDS
        while self._clock() < until and (deliveries := self._broker.receive(self._limit, LINGER_SECONDS)):
            self._take(deliveries)

    def turn(self) -> None:
        """Answer requests, take one batch, look after the run."""
        try:
            self._answer()
            deliveries = self._broker.receive(self._limit, RECEIVE_SECONDS)
            if deliveries:
                self._take(deliveries)
            if self._clock() - self._ticked >= TICK_SECONDS:
                self._ticked = self._clock()
                self._tick()
        except BrokerUnavailable as error:
            logger.warning("broker lost", extra={"action": "wait", "error": str(error)})
            self.connect()
            deliveries = []
        if self._clock() - self._shown >= STATUS_SECONDS or not deliveries:
            self._show()
        if 0 < len(deliveries) < min(self._limit, LINGER_RESULTS):
            self._sleep(LINGER_SECONDS)

    # --- results ------------------------------------------------------------------------------------------------------

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        """The one place where results are settled: after the commit."""
        bodies = [delivery.body for delivery in deliveries]
        refused = self._written(lambda: self._intake.take(bodies), deliveries)
        if refused is None:
            return
        for position, delivery in enumerate(deliveries):
            if position not in refused:
                self._broker.settle(delivery)
        for position, reason in refused.items():
            logger.error("result refused", extra={"action": "dead_letter", "error": reason})
            self._broker.dead_letter(deliveries[position], reason)
        if refused:
            self._note("refused", f"{len(refused)} results went to the dead letters, the last one because {reason}")
        size = sum(map(len, bodies)) // len(bodies) + 1
        self._limit = min(max(BATCH_BYTES // size, 1), BATCH_RESULTS)
        self._tally.rate.add(self._clock(), self._tally.settled)
        if self._tally.is_complete and not self._was_complete:
            self._ticked = 0.0  # the counters that are shown with it are of now
            self._note("complete", f"{self._tally.cells.done} done, {self._tally.cells.dead} dead")
        self._was_complete = self._tally.is_complete

    def _written(self, write: Callable[[], Value], deliveries: Sequence[Delivery]) -> Value | None:
        """What `write` returns, as soon as the file can be written; None if asked to stop before that.

        Nothing is lost meanwhile: the deliveries stay ours, unsettled, and the broker keeps the rest.
        """
        delay, longest = UNWRITABLE_SECONDS
        while True:
            try:
                value = write()
            except Unwritable as error:
                self._say(str(error))
                if self._stop.requested:
                    return None
                self._broker.wait([self._stop.fileno()], delay)
                self._broker.extend(deliveries)
                delay = min(2 * delay, longest)
            else:
                self._say("")
                return value

    # --- looking after the run ----------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._clock()
        self._tally.rate.add(now, self._tally.settled)
        self._depth = depth = self._broker.depth()
        self._notice_silence(now)
        if self._tally.is_complete:
            self._repair = None
            return
        held = self._tally.held(now, self._silence)
        if self._repair is None and self._patience.is_over(now, self._tally.moved, self._tally.settled, depth, len(held)):
            missing = self._tally.cells.missing
            if any(self._tally.cells.missing_ranges(0, self._run.total, without=held)):
                self._repair = Repair(self._settings, self._run, self._space, self._broker, self._tally.cells, held)
                self._note(
                    "repair", f"nothing moved and {missing} parameters are missing; those that nobody has are published again"
                )
        if self._repair is not None and depth.ready < MESSAGES // 2:
            published = self._repair.go_on()
            self._repaired = self._clock()
            logger.warning("published again", extra={"action": "repair", "chunks": published})
            if self._repair.is_finished:
                self._repair = None
                self._patience.repaired(self._clock())

    @property
    def _silence(self) -> float:
        """Seconds after which a worker that says nothing is not counted on."""
        return 3 * self._settings.report_seconds

    def _notice_silence(self, now: float) -> None:
        for worker in self._tally.workers.values():
            heard = max(worker.seen, self._listening_since)  # while nobody listened, nobody was silent
            if worker.state not in (GONE, SILENT) and now - heard > self._silence:
                self._note("worker", f"{worker.name} on {worker.node} has been silent for {now - heard:.0f} s")
                worker.state = SILENT

    def _answer(self) -> None:
        """Carry out what was asked for over HTTP."""
        while True:
            try:
                asked = self._desk.requests.get_nowait()
            except Empty:
                return
            if not asked.answer.set_running_or_notify_cancel():
                continue  # nobody waits for it any more
            try:
                again = self._revive(asked.indices)
            except TtgError as error:
                asked.answer.set_exception(error)
                if not isinstance(error, Unwritable):
                    raise
                continue
            asked.answer.set_result(len(again))
            self._publish(again)

    def _revive(self, indices: Sequence[int] | None) -> list[int]:
        """Make dead parameters missing ones; returns which they were."""
        with self._tally.transaction(), self._store.transaction():
            again = self._store.retry_dead(self._clock(), indices)
            for index in again:
                self._tally.cells.fill(index, index + 1, RETRIED)
        self._was_complete = self._tally.is_complete
        return again

    def _publish(self, indices: Sequence[int]) -> None:
        """Task messages for `indices`; what gets lost here, repair finds."""
        ranges = compress(indices)
        for first in range(0, len(ranges), BATCH):
            part = ranges[first : first + BATCH]
            self._broker.publish(Queue.TASKS, task_bodies(self._settings, self._run, self._space, part))

    # --- the broker, and what is said ---------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the broker, for as long as it takes."""

        def on_wait(error: BaseException, _seconds: float) -> None:
            self._say(f"waiting for the broker: {error}")
            self._show()

        policy = reconnecting(self._sleep, lambda: self._stop.requested, on_wait)
        policy(self._broker.open, Queue.RESULTS)
        self._listening_since = self._clock()
        self._desk.is_ready = True
        self._say("")

    def _say(self, problem: str) -> None:
        """Keep what stands in the way, and log it once; empty: nothing does."""
        before, self._desk.problem = self._desk.problem, problem
        if problem and problem != before:
            logger.error(problem, extra={"action": "wait"})
        elif before and not problem:
            logger.info("ready", extra={"action": "ready", "after": before})
        if problem:
            self._show()

    def _note(self, kind: str, text: str) -> None:
        """An event, in the log and in the file; a file that cannot be written now does without it."""
        logger.info(text, extra={"action": kind})
        try:
            with self._store.transaction():
                self._store.event(self._clock(), kind, text)
        except Unwritable as error:
            logger.warning("event was not kept", extra={"action": "event", "error": str(error)})

    def _show(self) -> None:
        now = self._shown = self._clock()
        self._desk.status = status(
            self._run,
            self._tally,
            now,
            depth=self._depth,
            live=self._tally.live(now, self._silence),
            problem=self._desk.problem,
            repairing=self._repair is not None or self._repaired > self._tally.moved,
            changed_code=self._store.changed_code(SHOWN),
            events=self._store.recent(SHOWN),
        )


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch as the machine has them now, and from now on by its monotonic clock.

    A clock that somebody sets back by an hour would otherwise stop every tick, and with them repair, for that hour.
    """
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until-complete", action="store_true", help="end, with status 0, as soon as the run is complete")
    parser.add_argument("--accept-changed-code", action="store_true", help="go on with a run that other code began")
    parser.add_argument("--url-file", type=Path, metavar="FILE", help="write the address that is listened on to this file")
    arguments = parser.parse_args(argv)
    settings = Settings.from_environ()
    if arguments.accept_changed_code:
        settings = replace(settings, accept_changed_code=True)
    space = from_settings(settings)
    specification = Specification.from_settings(settings, space)
    settings = settings.for_run(specification.run)
    log.configure(settings.log_level, run=specification.run, program="ledger")
    path = Path(settings.ledger_path)
    store = Store(path, specification, time.time(), accept_changed_code=settings.accept_changed_code)
    desk = Desk()
    try:
        with StopSignal() as stop:
            ledger = Ledger(settings, specification, space, store, connect(settings, "ledger"), desk=desk, stop=stop)
            with Server(application(desk, path), settings) as server:
                logger.info("listening", extra={"action": "listen", "url": server.url})
                if arguments.url_file:
                    with reading.whole(arguments.url_file) as file:
                        file.write(f"{server.url}\n")
                ledger.run(until_complete=arguments.until_complete)
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
