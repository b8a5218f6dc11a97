"""The brokers of the trials: one of each kind for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from scripts.embedded import RabbitMQServer, RedisServer
from tests.conftest import needed
from tests.faults.servers import Server, server


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """The broker of that kind, started when it is first asked for."""
    kinds = {"redis": RedisServer, "rabbitmq": RabbitMQServer}
    started: dict[str, Server] = {}
    with ExitStack() as stack:

        def server_of(backend: str) -> Server:
            if backend not in started:
                needed(kinds[backend])
                started[backend] = server(backend, tmp_path_factory.mktemp("faults") / backend)
                stack.enter_context(started[backend])
            return started[backend]

        yield server_of
