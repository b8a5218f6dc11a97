"""A worker that dies between result and acknowledgement: its results are durable, and then it kills itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

from worker.__main__ import main
from worker.brokers import Broker, Delayed, Delivery, Queue, connect
from worker.config import Settings


def connect_dying(settings: Settings, name: str) -> Broker:
    broker: Any = connect(settings, name)

    def settle(_delivery: Delivery, results: Sequence[bytes] = (), _retries: Sequence[Delayed] = ()) -> None:
        broker.publish(Queue.RESULTS, results)
        os.kill(os.getpid(), signal.SIGKILL)

    broker.settle = settle
    return broker  # type: ignore[no-any-return]  # Any, so that the fault can be injected


with mock.patch("worker.__main__.connect", connect_dying):
    sys.exit(main())
