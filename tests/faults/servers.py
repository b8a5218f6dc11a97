"""The brokers of the trials: what can be done to one beyond killing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import redis

from scripts.embedded import RabbitMQServer, RedisServer

USER = PASSWORD = "guest"


class _Faulty:
    """A private server, and the password that the programs' account has at this moment."""

    process: RedisServer | RabbitMQServer
    password = PASSWORD

    @property
    def port(self) -> int:
        return self.process.port

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.stop()


class FaultyRedis(_Faulty):
    """A private Redis. Its account `guest` is the programs', the account `default` the test's."""

    def __init__(self, folder: Path) -> None:
        account = ("--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
        # By default a busy disk may hold back for two seconds what was answered already.
        self.process: RedisServer = RedisServer(folder, *account, "--appendfsync", "always")

    @property
    def url(self) -> str:
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{self.process.port}/0"

    def restart(self, *, empty: bool) -> None:
        self.process.restart(empty=empty)
        if self.password != PASSWORD:
            self.set_password(self.password)

    def fill_memory(self) -> None:
        """No write that needs memory is taken any more."""
        self._ask("CONFIG", "SET", "maxmemory", "1")

    def free_memory(self) -> None:
        self._ask("CONFIG", "SET", "maxmemory", "0")

    def set_password(self, password: str) -> None:
        self.password = password
        self._ask("ACL", "SETUSER", USER, "resetpass", f">{password}")

    def drop_connections(self) -> None:
        """Those of the programs."""
        self._ask("CLIENT", "KILL", "USER", USER)

    def version(self) -> str:
        return f"Redis {self._ask('INFO', 'server')['redis_version']}"

    def _ask(self, *command: str) -> Any:
        with redis.Redis(port=self.process.port) as client:
            return client.execute_command(*command)


class FaultyRabbitMQ(_Faulty):
    """A private RabbitMQ."""

    def __init__(self, folder: Path) -> None:
        self.process: RabbitMQServer = RabbitMQServer(folder)

    @property
    def url(self) -> str:
        return self.process.url

    def restart(self, *, empty: bool) -> None:
        self.process.restart(empty=empty)
        if self.password != PASSWORD and empty:
            self.set_password(self.password)

    def fill_memory(self) -> None:
        """Every connection that publishes is blocked."""
        self.process.control("set_vm_memory_high_watermark", "0.00000001")

    def free_memory(self) -> None:
        self.process.control("set_vm_memory_high_watermark", "0.4")

    def set_password(self, password: str) -> None:
        self.password = password
        self.process.control("change_password", USER, password)

    def drop_connections(self) -> None:
        self.process.control("close_all_connections", "the credentials were rotated")

    def version(self) -> str:
        return f"RabbitMQ {self.process.control('version').strip()}"


Server = FaultyRedis | FaultyRabbitMQ


def server(backend: str, folder: Path) -> Server:
    return FaultyRedis(folder) if backend == "redis" else FaultyRabbitMQ(folder)
