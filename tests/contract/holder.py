"""A program that receives messages, says "holding" and settles nothing: `python -m tests.contract.holder QUEUE COUNT`."""

from __future__ import annotations

import signal
import sys

from worker.brokers import Queue, connect
from worker.config import Settings


def main(queue: str, count: int) -> None:
    broker = connect(Settings.from_environ(), "holder")
    broker.open(Queue(queue))
    held = 0
    while held < count:
        held += len(broker.receive(count - held, 1.0))
    print("holding", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
