"""`make bench`: what a chunk costs a worker, against what it costs at least.

For each broker, in one run and taking turns: a bare loop of client calls that does exactly what a chunk needs (take a task,
make a result durable, remove the task; pipelined), and one worker with a task that does nothing, at chunk size 1 and 100. The
figures are medians over the rounds; the ratio is the worker's over the bare loop's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import redis
from rich.console import Console
from rich.table import Table

from scripts.embedded import embedded
from worker.brokers import Broker, Delayed, Delivery, Queue, connect
from worker.config import Settings
from worker.consumer import Consumer, sleep_on
from worker.executor import Executor
from worker.messages import Chunk, Result
from worker.program import exit_status
from worker.signals import StopSignal
from worker.space import Count
from worker.task import stamp

TASK = "examples.sleep:nothing"
SIZES = (1, 100)


@dataclass(frozen=True)
class Load:
    """The messages of one measurement: `count` chunks of `size` parameters, and a result as the worker would send it."""

    run: str
    size: int
    count: int

    def tasks(self) -> list[bytes]:
        code = stamp(TASK, 0, "")
        spans = (((first * self.size, (first + 1) * self.size),) for first in range(self.count))
        return [Chunk(self.run, code, Count(), span).encode() for span in spans]

    def result(self) -> bytes:
        return Result(
            self.run, stamp(TASK, 0, ""), "bench", "bench", ((0, self.size),), ["null"] * self.size, chunk="0-0"
        ).encode()


class Counting:
    """A broker that passes everything on, asks the loop to stop after `count` settlements, and notes when the last is made."""

    def __init__(self, broker: Broker, count: int, stop: StopSignal) -> None:
        self._broker = broker
        self._left = count
        self._stop = stop
        self.settled_at = 0.0

    def settle(self, delivery: Delivery, results: Sequence[bytes] = (), retries: Sequence[Delayed] = ()) -> None:
        self._broker.settle(delivery, results, retries)
        self._left -= 1
        if self._left == 0:
            self._stop.request()

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        return self._broker.receive(limit, timeout if self._left else 0.0)  # nothing more comes

    def flush(self) -> None:
        self._broker.flush()
        self.settled_at = time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


def worker(settings: Settings, load: Load) -> float:
    """Seconds one worker takes for the load, from its first chunk in hand to its last settled."""
    stop = StopSignal()
    executor = Executor(settings)
    broker: Any = Counting(connect(settings, "bench"), load.count, stop)
    executor.start()
    while not executor.ready:
        sleep_on([executor.fileno()], 1.0)
        executor.poll()
    consumer = Consumer(settings, broker, [executor], stamp=stamp(TASK, 0, ""), stop=stop)
    started = time.perf_counter()
    consumer.run()
    return float(broker.settled_at - started)


def bare_redis(settings: Settings, load: Load) -> float:
    """Seconds of redis-py doing the same: settle one and read the next in one round trip."""
    client: Any = redis.Redis.from_url(settings.redis_url)
    tasks, results = f"ttg:{{{load.run}}}:tasks", f"ttg:{{{load.run}}}:results"
    body = load.result()
    client.xgroup_create(tasks, "bare", "0")
    started = time.perf_counter()
    [(_, [(entry, _fields)])] = client.xreadgroup("bare", "bare", {tasks: ">"}, count=1)
    for _ in range(load.count):
        pipeline = client.pipeline(transaction=False)
        pipeline.xack(tasks, "bare", entry)
        pipeline.xadd(results, {"body": body})
        pipeline.xdel(tasks, entry)
        pipeline.xreadgroup("bare", "bare", {tasks: ">"}, count=1)
        found = pipeline.execute()[-1]
        if found:
            [(_, [(entry, _fields)])] = found
    seconds = time.perf_counter() - started
    client.close()
    return seconds


def bare_rabbitmq(settings: Settings, load: Load) -> float:
    """Seconds of pika doing the same: consume, publish with confirms in a window, acknowledge what is confirmed."""
    tasks, results = f"ttg.{load.run}.tasks", f"ttg.{load.run}.results"
    body = load.result()
    properties = pika.BasicProperties(delivery_mode=2)
    channel: Any = None
    pending: dict[int, int] = {}
    state = {"published": 0, "acked": 0, "started": 0.0, "seconds": 0.0}

    def opened(opened_channel: Any) -> None:
        nonlocal channel
        channel = opened_channel
        channel.confirm_delivery(confirmed)
        channel.basic_qos(prefetch_count=settings.prefetch)
        state["started"] = time.perf_counter()
        channel.basic_consume(tasks, received)

    def received(_channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        channel.basic_publish("", results, body, properties, mandatory=True)
        state["published"] += 1
        pending[int(state["published"])] = method.delivery_tag

    def confirmed(frame: Any) -> None:
        tags = (
            [tag for tag in pending if tag <= frame.method.delivery_tag] if frame.method.multiple else [frame.method.delivery_tag]
        )
        for tag in tags:
            channel.basic_ack(pending.pop(tag))
            state["acked"] += 1
        if state["acked"] == load.count:
            state["seconds"] = time.perf_counter() - state["started"]
            connection.close()

    def connected(_connection: Any) -> None:
        connection.channel(on_open_callback=opened)

    connection = pika.SelectConnection(
        pika.URLParameters(settings.rabbitmq_url),
        on_open_callback=connected,
        on_close_callback=lambda *_: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    return float(state["seconds"])


def measure(backend: str, url: str, size: int, count: int, rounds: int, prefetch: int) -> tuple[float, float]:
    """Median seconds a chunk: bare, worker."""
    bare = bare_redis if backend == "redis" else bare_rabbitmq
    ways: dict[str, Callable[[Settings, Load], float]] = {"bare": bare, "worker": worker}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way, function in ways.items():
            load = Load(f"bench-{way}-{size}-{turn}", size, count)
            environment = {"QUEUE_BACKEND": backend, f"{backend.upper()}_URL": url, "RUN_ID": load.run, "TASK": TASK}
            environment["PREFETCH"] = str(prefetch)
            settings = Settings.from_environ(environment)
            broker = connect(settings, "bench")
            broker.open()
            broker.publish(Queue.TASKS, load.tasks())
            seconds[way].append(function(settings, load) / count)
            broker.delete()
            broker.close()
    return statistics.median(seconds["bare"]), statistics.median(seconds["worker"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["redis", "rabbitmq"], action="append", help="default: both")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--chunks", type=int, default=2_000, help="chunks a measurement (default: 2000)")
    parser.add_argument("--prefetch", type=int, default=2, help="chunks in hand, of both ways (default: 2)")
    arguments = parser.parse_args()
    table = Table("broker", "chunk size", "bare µs", "worker µs", "ratio", "parameters/s", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for backend in arguments.backend or ["redis", "rabbitmq"]:
        with tempfile.TemporaryDirectory(prefix="ttg-") as scratch, embedded(backend, Path(scratch) / backend) as server:
            for size in SIZES:
                bare, own = measure(backend, server.url, size, arguments.chunks, arguments.rounds, arguments.prefetch)
                figures = f"{bare * 1e6:.0f}", f"{own * 1e6:.0f}", f"{own / bare:.2f}", f"{size / own:,.0f}"
                table.add_row(backend, str(size), *figures)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
