"""`python -m scripts.check_broker`: what `helm test` runs. A message goes the way of a chunk, and a wrong password goes nowhere.

The message is published, taken and settled by the accounts of seed, worker and ledger, in a run of its own that is removed at
the end. The accounts' passwords are the files `seed-password`, `worker-password` and `ledger-password` beside
BROKER_PASSWORD_FILE; without that setting, the account in the broker's URL does it all.

Exit status: 0 it works, 1 with one sentence.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from worker.brokers import Broker, Queue, connect
from worker.config import Settings
from worker.errors import BrokerError, BrokerRefused, BrokerUnavailable
from worker.program import exit_status

TASK, RESULT = b"a task of the broker check", b"its result"
WAIT_SECONDS = 10.0


def as_role(settings: Settings, role: str) -> Settings:
    """The settings of one of the release's programs."""
    if not settings.broker_password_file:
        return settings
    password_file = Path(settings.broker_password_file).with_name(f"{role}-password")
    return replace(settings, broker_username=role, broker_password_file=str(password_file))


@contextmanager
def opened(settings: Settings, role: str, consume: Queue | None = None) -> Iterator[Broker]:
    broker = connect(as_role(settings, role), f"check-{role}")
    try:
        broker.open(consume)
        yield broker
    finally:
        broker.close()


def hand_on(settings: Settings) -> None:
    """Send one message from the seed through a worker to the ledger, and remove the run.

    Raises:
        BrokerError: it did not arrive, or an account may not do what its program does.
    """
    with opened(settings, "ledger", Queue.RESULTS) as ledger:
        try:
            with opened(settings, "seed") as seed:
                seed.seed(0, [TASK], 1)
            with opened(settings, "worker", Queue.TASKS) as worker:
                _take(worker, TASK, RESULT)
            _take(ledger, RESULT)
        finally:
            ledger.delete()


def _take(broker: Broker, expected: bytes, *results: bytes) -> None:
    deliveries = broker.receive(1, WAIT_SECONDS)
    if [delivery.body for delivery in deliveries] != [expected]:
        raise BrokerUnavailable(f"{expected!r} was published and did not arrive within {WAIT_SECONDS:g} s")
    broker.settle(deliveries[0], results)
    broker.flush()


def is_refused(settings: Settings) -> bool:
    """Whether the broker refuses a password that is not the right one."""
    stranger = replace(as_role(settings, "worker"), broker_password_file="", broker_password=secrets.token_hex())
    broker = connect(stranger, "check-stranger")
    try:
        broker.open()
    except BrokerRefused:
        return True
    finally:
        broker.close()
    return False


def main() -> int:
    settings = Settings.from_environ()
    settings.require("run_id")
    hand_on(settings)
    print("a message went from the seed through a worker to the ledger")
    if not is_refused(settings):
        raise BrokerError("the broker lets a wrong password in: make it ask for one")
    print("a wrong password is refused")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
