"""`python -m scripts.seed`: publish every chunk of the run, and end.

Idempotent and resumable: the broker keeps the position reached, so a seed that runs twice, that was killed half-way, or that
has a twin, publishes only what is not there yet. With `--ledger FILE` it leaves out what that ledger already has.

Exit status: 0 everything is published, 1 with one sentence, 130 interrupted (run it again).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.chunks import chunks
from scripts.parameters import ParameterSpace, from_settings
from scripts.reading import missing_in
from scripts.specification import Specification
from worker import log
from worker.brokers import Broker, connect
from worker.config import Settings
from worker.errors import BrokerUnavailable
from worker.messages import Chunk
from worker.program import INTERRUPTED, exit_status
from worker.retry import reconnecting
from worker.signals import StopSignal
from worker.space import Ranges

WINDOW = 2_000
"""Chunks that are published together: how much a seed that is killed may publish twice on RabbitMQ."""

logger = log.get("seed")


class Seed:
    """Publishes the chunks of one run.

    Args:
        missing: which indices between two positions still need a value.
        stop: ends it between two windows.
        sleep: waits some seconds for the broker.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        specification: Specification,
        space: ParameterSpace,
        *,
        missing: Callable[[int, int], Ranges],
        stop: StopSignal,
        sleep: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._specification = specification
        self._space = space
        self._missing = missing
        self._stop = stop
        self._policy = reconnecting(sleep, lambda: stop.requested, self._say)
        self._said = False

    def run(self) -> bool:
        """Publish until everything is; False when it was stopped before."""
        total = self._space.total
        position = self._policy(self._reopen)
        logger.info("seeding", extra={"action": "seed", "position": position, "total": total})
        while position < total and not self._stop.requested:
            end = min(position + WINDOW * self._settings.chunk_size, total)
            bodies = [chunk.encode() for chunk in self._chunks(position, end)]
            try:
                position = self._broker.seed(position, bodies, end)
            except BrokerUnavailable as error:
                self._say(error, 0.0)
                position = self._policy(self._reopen)
        logger.info("seeded", extra={"action": "seed", "position": position, "total": total})
        return position >= total

    def _chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        run, stamp = self._specification.run, self._specification.stamp
        return chunks(self._settings, run, stamp, self._space, self._missing(start, stop))

    def _reopen(self) -> int:
        self._broker.open()
        position = self._broker.seed(0, [], 0)
        self._said = False
        return position

    def _say(self, error: BaseException, _seconds: float) -> None:
        if not self._said:
            logger.warning("waiting for the broker", extra={"action": "wait", "error": str(error)})
            self._said = True


def everything(start: int, stop: int) -> Ranges:
    """Nothing is in a ledger yet."""
    return ((start, stop),)


def main() -> int:
    parser = argparse.ArgumentParser(prog="seed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="leave out what this SQLite file already has")
    arguments = parser.parse_args()
    settings = Settings.from_environ()
    settings.require("task")
    space = from_settings(settings)
    specification = Specification.from_settings(settings, space)
    log.configure(settings.log_level, run=specification.run, program="seed")
    missing = missing_in(arguments.ledger) if arguments.ledger and arguments.ledger.exists() else everything
    with StopSignal() as stop:
        broker = connect(settings.for_run(specification.run), "seed")
        try:
            sleep = stop.sleep
            done = Seed(settings, broker, specification, space, missing=missing, stop=stop, sleep=sleep).run()
        except BrokerUnavailable:
            done = False  # only raised once a stop was asked for
        finally:
            broker.close()
    return 0 if done else INTERRUPTED


if __name__ == "__main__":
    sys.exit(exit_status(main))
