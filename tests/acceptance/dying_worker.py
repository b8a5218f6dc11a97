"""A worker that dies between result and acknowledgement: its results are durable, and then it kills itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import worker.__main__ as program
from worker.brokers import Broker, Delayed, Delivery, Queue, connect
from worker.config import Settings


def connect_dying(settings: Settings, name: str) -> Broker:
    broker = connect(settings, name)

    def settle(_delivery: Delivery, results: Sequence[bytes] = (), _retries: Sequence[Delayed] = ()) -> None:
        broker.publish(Queue.RESULTS, results)
        os.kill(os.getpid(), signal.SIGKILL)

    broker.settle = settle  # type: ignore[method-assign]  # the fault that is injected
    return broker


program.connect = connect_dying
program.main()
