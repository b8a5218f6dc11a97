"""What is durable, read from outside: the ledger's committed file, and the messages at the broker."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path

from worker.messages import Chunk, Result


class Record:
    """What the ledger's file holds at this moment.

    Attributes:
        values: by parameter.
        dead: the attempts of each dead parameter.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._version = -1
        self.values: dict[int, str] = {}
        self.dead: dict[int, int] = {}

    def read(self) -> bool:
        """Whether anything was committed since the last look."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return False
        self._version = version
        if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self.values = dict(self._connection.execute("SELECT parameter, value FROM results"))
            self.dead = dict(self._connection.execute("SELECT parameter, attempts FROM dead"))
        return True

    @property
    def settled(self) -> set[int]:
        return self.values.keys() | self.dead.keys()

    def close(self) -> None:
        self._connection.close()


@lru_cache(maxsize=10_000)
def asked_for(task: bytes, run: str) -> frozenset[int]:
    """The parameters of a task message."""
    return frozenset(Chunk.decode(task, run).indices())


@lru_cache(maxsize=10_000)
def attempt_of(task: bytes, run: str) -> int:
    return Chunk.decode(task, run).attempt


@lru_cache(maxsize=10_000)
def outcomes_in(result: bytes, run: str) -> frozenset[int]:
    """The parameters of which a result message has a value or the last error."""
    decoded = Result.decode(result, run)
    indices = [index for start, stop in decoded.ranges for index in range(start, stop)]
    return frozenset([*indices, *(failure.index for failure in decoded.dead)])
