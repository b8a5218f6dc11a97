"""What every test stands on: a clean environment, and real servers of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Protocol, TypeVar

import pytest

from scripts.embedded import RabbitMQServer, RedisServer
from worker.config import Settings

# A developer's shell may be set up for a real run: no test may see that. At import, so that no fixture comes before it.
for _name in (item.name.upper() for item in fields(Settings)):
    os.environ.pop(_name, None)

# Tests that need another account than the server's own use this one; RabbitMQ has it by itself.
GUEST = ("guest", "guest")


class _Server(Protocol):
    @classmethod
    def unavailable(cls) -> str | None: ...


Kind = TypeVar("Kind", bound=_Server)


def needed(server: type[Kind]) -> type[Kind]:
    """`server`, if it can run here: without it, a laptop skips the test and CI fails it."""
    if reason := server.unavailable():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A private Redis; a test that stops it starts it again."""
    user, password = GUEST
    account = ("--user", user, "on", f">{password}", "~*", "&*", "+@all")
    # By default a busy disk may hold back for two seconds what was answered already, and tests kill this server.
    durable = ("--appendfsync", "always")
    with needed(RedisServer)(tmp_path_factory.mktemp("brokers") / "redis", *account, *durable) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """A private RabbitMQ; a test that stops it starts it again."""
    with needed(RabbitMQServer)(tmp_path_factory.mktemp("brokers") / "rabbitmq") as server:
        yield server
