"""Every acceptance test runs on both brokers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.embedded import RabbitMQServer, RedisServer
from tests.acceptance.run import Run


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> RedisServer | RabbitMQServer:
    """A running server of either kind."""
    found: RedisServer | RabbitMQServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def new_run(server: RedisServer | RabbitMQServer, tmp_path: Path) -> Callable[..., Run]:
    """Makes runs on that server, each with a folder and a name of its own."""
    made: list[Run] = []

    def new(**settings: str | int) -> Run:
        name = f"run-{len(made)}-{tmp_path.name.replace('[', '-').replace(']', '')}"[:60]
        folder = tmp_path / str(len(made))
        folder.mkdir()
        run = Run(server, folder, name, **settings)  # type: ignore[arg-type]  # count is an int, every other setting a str
        made.append(run)
        return run

    return new
