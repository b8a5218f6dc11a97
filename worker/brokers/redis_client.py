"""One connection to Redis: commands and Lua scripts out, replies in, and every client error translated into our own.

It is a `redis.Connection`, without the pool and the retries of `redis.Redis`: by default that repeats a command whose reply
was lost, and an XADD would then be there twice.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, TypeVar

import redis
from redis import exceptions
from redis.connection import parse_url

from worker.config import Settings, without_password
from worker.errors import BrokerError, BrokerRefused, BrokerUnavailable

Reply = TypeVar("Reply")

SOCKET_SECONDS = 5.0
"""Seconds to connect, to send, and to wait for a reply: a connection that only our end holds open is noticed."""

_WAIT_CLASSES = (
    exceptions.ConnectionError,  # LOADING and "max number of clients" too
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
)
# What the client has no class for; and before Redis 7 the code of an error within a script stands in the middle of its text.
_WAIT_CODES = re.compile(r"\b(BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|OOM|READONLY|TRYAGAIN)\b")
_NO_GROUP = re.compile(r"\b(NOGROUP|UNBLOCKED)\b")  # UNBLOCKED: it was deleted while we waited for it (before Redis 7.2)
_AUTHENTICATION_CLASSES = (exceptions.AuthenticationError, exceptions.AuthorizationError)


class NoGroup(BrokerUnavailable):
    """A stream or its group is gone: somebody emptied the server."""


class Script:
    """`lua/<name>.lua`, and the digest by which a server knows it that has seen it."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("worker.brokers").joinpath("lua", f"{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


class RedisClient:
    """The connection that `settings` name. It connects by itself, also after an error, so each error is the caller's to judge.

    Raises:
        NoGroup: a command needs a consumer group that is not there.
        BrokerUnavailable: waiting helps.
        BrokerRefused: waiting does not help.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = without_password(settings.redis_url)
        options: dict[str, Any] = {
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "protocol": 2,  # replies of one shape from every version, and no HELLO that an account must be allowed
        }
        try:
            options |= parse_url(settings.redis_url)
            connection = options.pop("connection_class", redis.Connection)
            if settings.broker_username:
                options["username"] = settings.broker_username
            if settings.password:
                options["password"] = settings.password
            if connection is redis.SSLConnection and (authorities := settings.broker_ca_file):
                if not os.path.isfile(authorities):  # the client would report it as a connection that failed
                    raise BrokerRefused(
                        f"BROKER_CA_FILE={authorities} is no file; name the certificates that Redis is checked by"
                    )
                options["ssl_ca_certs"] = authorities
            self._connection: redis.Connection = connection(**options)
        except (TypeError, ValueError) as error:  # an option after the "?" that the client does not know, or not so
            raise BrokerRefused(f"REDIS_URL={self._url} cannot be used ({error}); correct what follows the '?'") from None

    @property
    def connected(self) -> bool:
        return self._connection.is_connected

    def script(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What `script` returns."""
        return self._translated(lambda: self._script(script, (len(keys), *keys, *arguments)))

    def commands(self, *commands: Sequence[Any]) -> list[Any]:
        """The reply to each command, in one round trip. After an error some of them may have been carried out."""
        return self._translated(lambda: self._pipeline(commands))

    def close(self) -> None:
        self._connection.disconnect()

    def _script(self, script: Script, arguments: Sequence[Any]) -> Any:
        try:
            return self._pipeline([("EVALSHA", script.digest, *arguments)])[0]
        except exceptions.NoScriptError:
            return self._pipeline([("EVAL", script.source, *arguments)])[0]

    def _pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        connection = self._connection
        connection.send_packed_command(connection.pack_commands(commands))
        replies = []
        for left in range(len(commands) - 1, -1, -1):
            try:
                replies.append(connection.read_response())
            except exceptions.ResponseError:
                if left:
                    connection.disconnect()  # replies that nobody reads would answer the next command
                raise
        return replies

    def _translated(self, call: Callable[[], Reply]) -> Reply:
        try:
            return call()
        except redis.RedisError as error:
            raise self._translate(error) from error

    def _translate(self, error: redis.RedisError) -> BrokerError:
        text = " ".join(str(error).split())
        if isinstance(error, _AUTHENTICATION_CLASSES):
            return BrokerRefused(
                f"REDIS_URL={self._url}: Redis refuses the login ({text}); "
                "correct BROKER_USERNAME and BROKER_PASSWORD, or the ones in the URL"
            )
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return BrokerRefused(f"REDIS_URL={self._url}: {text}; name the authority that signed it in BROKER_CA_FILE")
        if _NO_GROUP.search(text):
            return NoGroup(f"Redis at {self._url} has lost the queues of the run ({text})")
        if isinstance(error, _WAIT_CLASSES) or _WAIT_CODES.search(text):
            return BrokerUnavailable(f"Redis at {self._url} is unavailable ({text})")
        return BrokerRefused(
            f"REDIS_URL={self._url}: Redis answers {text!r}; "
            "Redis 6.2 or newer or Valkey is needed, and an account that may do everything with the keys ttg:*"
        )
