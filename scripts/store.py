"""The ledger's SQLite file: which parameter has which value, durable before the broker is told.

One process writes, under a lock of the operating system; any number read at the same time. What the tables mean stands in
`ledger.sql`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from scripts import reading
from scripts.specification import Specification
from scripts.tally import Counters, Tally, Worker
from worker.errors import SettingsError, TtgError

SCHEMA = reading.SCHEMA


class DamagedLedger(TtgError):
    """SQLite finds the file damaged."""


class Unwritable(TtgError):
    """The file cannot be written now (disk full, say): nothing of the transaction happened, and waiting may help."""


class Store:
    """The file, open for writing. Every method but `close` and the loading ones belongs inside `transaction`.

    Raises:
        SettingsError: the file cannot be used: it belongs to another run, to changed code (unless `accept_changed_code`), to
            another ledger at this moment, or is no ledger.
    """

    def __init__(self, path: Path, specification: Specification, now: float, *, accept_changed_code: bool = False) -> None:
        self.path = path
        self._lock = _lock(path)
        try:
            self._connection = _open(path)
            try:
                self._claim(specification, now, accept_changed_code)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def _claim(self, specification: Specification, now: float, accept_changed_code: bool) -> None:
        """Make the tables in a new file; compare an old one with what is asked for."""
        if not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            with self.transaction():
                for statement in resources.files("scripts").joinpath("ledger.sql").read_text().split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
                row = {**asdict(specification), "created": now}
                self._insert("run", row)
        self.began = reading.specification(self._connection, self.path)
        if not specification.is_same_run(self.began):
            raise SettingsError(
                f"LEDGER_PATH={self.path} holds {self.began}, and this is {specification}; "
                "choose another output folder, or ask for the run that is there"
            )
        if specification.stamp != self.began.stamp and not accept_changed_code:
            raise SettingsError(
                f"LEDGER_PATH={self.path} holds {self.began}, begun with code {self.began.stamp}, and the code is "
                f"{specification.stamp} now; go on with --accept-changed-code, or choose another output folder"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; durable when it is left.

        Raises:
            Unwritable: it did not happen.
            DamagedLedger: the file is damaged.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:  # some errors have rolled back by themselves
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise Unwritable(f"{self.path} cannot be written ({error}); make room on its disk") from error
            if isinstance(error, sqlite3.DatabaseError):
                raise DamagedLedger(
                    f"{self.path} is damaged ({error}); move it away, and the run begins anew, or mend it with sqlite3's .recover"
                ) from error
            raise

    # --- results ------------------------------------------------------------------------------------------------------

    def insert_values(self, rows: Iterable[tuple[int, str]]) -> None:
        """Values of parameters that have none."""
        self._connection.executemany("INSERT OR IGNORE INTO results VALUES (?, ?)", rows)

    def values(self, start: int, stop: int) -> dict[int, str]:
        """The values there are for the parameters from `start` to before `stop`."""
        query = "SELECT parameter, value FROM results WHERE parameter >= ? AND parameter < ?"
        return dict(self._connection.execute(query, (start, stop)))

    def insert_dead(self, index: int, error: str, attempts: int) -> None:
        self._connection.execute("INSERT OR IGNORE INTO dead VALUES (?, ?, ?)", (index, error, attempts))

    def delete_dead(self, indices: Iterable[int]) -> None:
        self._connection.executemany("DELETE FROM dead WHERE parameter = ?", ((index,) for index in indices))

    def retry_dead(self, now: float, indices: Sequence[int] | None = None) -> list[int]:
        """Forget that `indices` (None: all) are dead; their errors go to the events. Returns those that were, ascending."""
        rows = self._connection.execute("SELECT parameter, error, attempts FROM dead ORDER BY parameter").fetchall()
        wanted = None if indices is None else set(indices)
        rows = [row for row in rows if wanted is None or row[0] in wanted]
        for index, error, attempts in rows:
            self.event(now, "retry", f"parameter {index} is tried again; it was dead after {attempts} attempts: {error}")
        self.delete_dead(row[0] for row in rows)
        return [row[0] for row in rows]

    # --- what else is known -------------------------------------------------------------------------------------------

    def insert_disagreement(self, index: int, first: str, other: str, worker: str) -> bool:
        """Whether it was a new one: a result that is delivered again does not disagree twice."""
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO disagreements VALUES (?, ?, ?, ?)", (index, first, other, worker)
        )
        return cursor.rowcount == 1

    def add_changed_code(self, start: int, stop: int, stamp: str) -> bool:
        """Note what other code computed, joined to its neighbours. Whether it is the first of that code."""
        is_new = not self._connection.execute("SELECT 1 FROM changed_code WHERE stamp = ? LIMIT 1", (stamp,)).fetchall()
        first, last = start, stop - 1
        for neighbour, edge in (("last", start - 1), ("first", stop)):
            query = f"DELETE FROM changed_code WHERE {neighbour} = ? AND stamp = ? RETURNING first, last"  # noqa: S608  # a name from the line above
            for other_first, other_last in self._connection.execute(query, (edge, stamp)).fetchall():
                first, last = min(first, other_first), max(last, other_last)
        self._connection.execute("INSERT INTO changed_code VALUES (?, ?, ?)", (first, last, stamp))
        return is_new

    def event(self, now: float, kind: str, text: str) -> None:
        self._connection.execute("INSERT INTO events(time, kind, text) VALUES (?, ?, ?)", (now, kind, text))

    def save(self, counters: Counters, workers: Iterable[Worker]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", asdict(counters).items())
        for worker in workers:
            row = asdict(worker)
            del row["computing"]  # is not true any more when it is read
            self._insert("workers", row)

    def load(self) -> Tally:
        """What the file knows, as it is kept in memory."""
        return reading.tally(self._connection, self.began.total)

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The last events, oldest first."""
        return reading.events(self._connection, limit=limit)

    def changed_code(self, limit: int) -> list[list[Any]]:
        """The first ranges that other code computed: first and last index, and the stamp."""
        return reading.changed_code(self._connection, limit=limit)

    def close(self) -> None:
        """Leave one file behind: no write-ahead log, no lock. Doing it again does nothing."""
        if self._lock.closed:
            return
        with suppress(sqlite3.OperationalError):  # somebody reads it at this moment, or the disk is full
            self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()
        Path(self._lock.name).unlink(missing_ok=True)  # while it is ours: `_lock` notices
        self._lock.close()

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        statement = f"INSERT OR REPLACE INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608  # our names
        self._connection.execute(statement, tuple(row.values()))


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # readers do not hold up the writer
            connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            connection.execute("PRAGMA wal_autocheckpoint = 8192")  # pages: fewer, longer checkpoints than the default's
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise Unwritable(f"LEDGER_PATH={path} cannot be written ({error}); make room, or name another file") from error
    except sqlite3.DatabaseError as error:
        raise SettingsError(f"LEDGER_PATH={path} is no ledger ({error}); name another file, or move this one away") from error
    return connection


def _lock(path: Path) -> BinaryIO:
    """A lock file beside the ledger's, held until it is closed or the process ends in any way.

    Not the file itself: a POSIX lock of SQLite's on it would be lost when our descriptor is closed.
    """
    try:
        lock = open(f"{path}.lock", "ab")  # noqa: SIM115  # stays open as long as the store
    except OSError as error:
        raise SettingsError(
            f"LEDGER_PATH={path} cannot be written: {error.strerror}; name a file in a folder of yours"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise SettingsError(
            f"LEDGER_PATH={path} is in the hands of another ledger; end that one, or name another file"
        ) from error
    if not _is_at(lock, Path(lock.name)):  # its holder removed it between our open and our lock
        lock.close()
        return _lock(path)
    return lock


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether `file` is what stands at `path` now."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
