"""`python -m worker`: one worker, configured by its environment alone (docs/settings.md).

Exit status: 0 after SIGTERM or SIGINT, 1 with one sentence when a setting, the task or the broker refuses, 70 after a second
signal.
"""

from __future__ import annotations

import sys

from worker import log
from worker.brokers import connect
from worker.config import Settings
from worker.consumer import Consumer
from worker.executor import Executor
from worker.program import exit_status
from worker.signals import StopSignal
from worker.task import stamp


def main() -> int:
    settings = Settings.from_environ()
    settings.require("task", "run_id")
    log.configure(settings.log_level, run=settings.run_id, worker=settings.worker)
    code = stamp(settings.task, settings.seed, settings.task_version)
    executors = [Executor(settings) for _ in range(settings.worker_concurrency)]
    with StopSignal() as stop:
        Consumer(settings, connect(settings, settings.worker), executors, stamp=code, stop=stop).run()
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
