"""The named points of the programs: methods that a program stops itself at, so that a fault strikes exactly there."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import socket
from dataclasses import dataclass
from importlib import import_module
from typing import Any

REDIS = "worker.brokers.redis_streams:RedisStreams"
RABBITMQ = "worker.brokers.rabbitmq:RabbitMQ"
LINK = "worker.brokers.amqp:Link"

BY_ROLE: dict[str, tuple[str, ...]] = {
    "worker": (
        "worker.consumer:Consumer._accept",
        "worker.consumer:Consumer._settle",
        "worker.consumer:Consumer._report",
        "worker.consumer:Consumer._drain",
        "worker.executor:Executor.submit",
    ),
    "ledger": (
        "scripts.ledger:Ledger._take",
        "scripts.ledger:Ledger._tick",
        "scripts.intake:Intake.take",
        "scripts.store:Store.insert_values",
        "scripts.store:Store.save",
        "scripts.repair:Repair.go_on",
    ),
    "seed": ("scripts.seed:Seed._chunks",),
}
BY_BROKER: dict[str, tuple[str, ...]] = {
    "redis": (
        f"{REDIS}.open",
        f"{REDIS}.close",
        "worker.brokers.redis_client:RedisClient._pipeline",
        "redis.connection:AbstractConnection.read_response",  # before: the command is sent, its reply is not read
    ),
    "rabbitmq": (
        f"{RABBITMQ}.open",
        f"{RABBITMQ}.close",
        f"{LINK}.publish",
        f"{LINK}.turn",
        f"{LINK}._on_confirm",
        f"{LINK}._acknowledge",
    ),
}
BY_BOTH: dict[tuple[str, str], tuple[str, ...]] = {
    ("worker", "redis"): tuple(f"{REDIS}.{method}" for method in ("receive", "publish", "settle", "extend", "release")),
    ("worker", "rabbitmq"): tuple(f"{RABBITMQ}.{method}" for method in ("receive", "publish", "settle", "_finish", "release")),
    ("ledger", "redis"): tuple(f"{REDIS}.{method}" for method in ("receive", "settle", "depth")),
    ("ledger", "rabbitmq"): tuple(f"{RABBITMQ}.{method}" for method in ("receive", "settle", "depth", "_finish")),
    ("seed", "redis"): (f"{REDIS}.seed",),
    ("seed", "rabbitmq"): (f"{RABBITMQ}.seed", f"{RABBITMQ}.publish", f"{LINK}.get", f"{LINK}.delete"),
}


def points_of(program: str, backend: str) -> tuple[str, ...]:
    """The points that `program` (`worker-1`, `seed`, `ledger`) can come to."""
    role = program.partition("-")[0]
    return BY_ROLE[role] + BY_BROKER[backend] + BY_BOTH[role, backend]


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a process stops itself: at the `nth` call of `point`, before it or `after` it. `name` tells which stop it is."""

    name: str
    point: str
    nth: int
    after: bool


def stop_at(stop: Stop, address: str) -> None:
    """Let this process come to a halt at `stop`, and say so to `address`."""
    module, _, path = stop.point.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    method = getattr(owner, name)
    calls = itertools.count(1)

    @functools.wraps(method)
    def watched(*args: Any, **kwargs: Any) -> Any:
        is_here = next(calls) == stop.nth
        if is_here and not stop.after:
            halt(stop.name, address)
        result = method(*args, **kwargs)
        if is_here and stop.after:
            halt(stop.name, address)
        return result

    setattr(owner, name, watched)


def halt(name: str, address: str) -> None:
    """Say that the stop `name` is reached, and stand still until somebody sends SIGCONT."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        messenger.sendto(f"{os.getpid()} {name}".encode(), address)
    os.kill(os.getpid(), signal.SIGSTOP)
