"""What is read from a ledger's file, by the ledger itself and by anybody else, while it is written or afterwards."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO
from urllib.parse import quote

from scripts.specification import Specification
from scripts.tally import DEAD, DONE, Cells, Counters, Tally, Worker
from worker.errors import SettingsError
from worker.space import Ranges

SCHEMA = 1
"""Version of the tables in `ledger.sql`."""
BLOCK = 2**16
"""Parameters that are counted at once when a file is loaded; only a block that is neither full nor empty is read by rows."""
ROWS = 5_000
"""Rows of a CSV file that are held in memory at once."""


class Table(NamedTuple):
    """Rows that are given out as CSV, and what is quoted there."""

    query: str
    quoting: Literal[0, 2]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC


RESULTS = Table("SELECT parameter, value FROM results ORDER BY parameter", csv.QUOTE_MINIMAL)
DEAD_PARAMETERS = Table(  # an error may hold any character: some readers take more than newlines for the end of a row
    "SELECT parameter, error, attempts FROM dead ORDER BY parameter", csv.QUOTE_NONNUMERIC
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads; it may be used by one thread after another.

    Raises:
        SettingsError: there is no ledger.
    """
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=30.0
        )
        with closing(connection):
            connection.execute("SELECT count(*) FROM sqlite_master")
            yield connection
    except sqlite3.OperationalError as error:
        raise SettingsError(f"{path} cannot be read: {error}; name a folder that holds a ledger.sqlite") from error
    except sqlite3.DatabaseError as error:
        raise SettingsError(f"{path} is no ledger ({error}); name a folder that holds a ledger.sqlite") from error


def specification(connection: sqlite3.Connection, path: Path) -> Specification:
    """What the file is about.

    Raises:
        SettingsError: it is no ledger, or a newer version's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise SettingsError(f"{path} has schema {version}, and this program knows {SCHEMA}; upgrade it, or name another file")
    columns = ", ".join(field.name for field in fields(Specification))
    try:
        row = connection.execute(f"SELECT {columns} FROM run").fetchone()  # noqa: S608  # names of our own
    except sqlite3.OperationalError as error:
        raise SettingsError(f"{path} is a SQLite file and no ledger ({error}); name another file") from error
    return Specification(*row)


def tally(connection: sqlite3.Connection, total: int) -> Tally:
    """What the file knows, as the ledger keeps it in memory."""
    columns = [field.name for field in fields(Worker) if field.name != "computing"]
    query = f"SELECT {', '.join(columns)} FROM workers ORDER BY name"  # noqa: S608  # names of our own
    workers = [Worker(**dict(zip(columns, row, strict=True))) for row in connection.execute(query)]
    counters = Counters()
    for name, value in connection.execute("SELECT name, value FROM counters"):
        setattr(counters, name, type(getattr(counters, name))(value))
    return Tally(states(connection, total), counters, workers)


def states(connection: sqlite3.Connection, total: int) -> bytearray:
    """The state of each parameter, one byte each.

    Raises:
        SettingsError: there is not enough memory for that.
    """
    try:
        found = bytearray(total)
    except MemoryError:
        raise SettingsError(
            f"a run of {total} parameters needs as many bytes of memory for its ledger, and there are fewer; divide it"
        ) from None
    for table, state in (("results", DONE), ("dead", DEAD)):
        within = f"FROM {table} WHERE parameter >= ? AND parameter < ?"
        for start in range(0, total, BLOCK):
            block = (start, min(start + BLOCK, total))
            (count,) = connection.execute(f"SELECT count(*) {within}", block).fetchone()
            if count == block[1] - start:
                found[start : block[1]] = bytes([state]) * count
            elif count:
                for (index,) in connection.execute(f"SELECT parameter {within}", block):
                    found[index] = state
    return found


def missing_in(path: Path) -> Callable[[int, int], Ranges]:
    """Which indices between two positions have no outcome in the ledger at `path`, as it is now.

    Raises:
        SettingsError: it is no ledger.
    """
    with opened(path) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return lambda start, stop: ((start, stop),)  # just made by a ledger that starts at this moment
        cells = Cells(states(connection, specification(connection, path).total))
    return lambda start, stop: tuple(cells.missing_ranges(start, stop))


def settled(connection: sqlite3.Connection, first: int, last: int) -> int:
    """How many of the parameters `first` to `last` have an outcome."""
    within = "WHERE parameter BETWEEN ? AND ?"
    query = f"SELECT (SELECT count(*) FROM results {within}) + (SELECT count(*) FROM dead {within})"  # noqa: S608  # our own words
    return int(connection.execute(query, (first, last, first, last)).fetchone()[0])


def events(connection: sqlite3.Connection, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """The last `limit` events with an id above `after`, oldest first."""
    query = "SELECT id, time, kind, text FROM events WHERE id > ? ORDER BY id DESC LIMIT ?"
    rows = connection.execute(query, (after, limit)).fetchall()
    return [dict(zip(("id", "time", "kind", "text"), row, strict=True)) for row in reversed(rows)]


def changed_code(connection: sqlite3.Connection, *, limit: int) -> list[list[Any]]:
    """The first `limit` ranges that other code than the run began with computed: first and last index, and its stamp."""
    query = "SELECT first, last, stamp FROM changed_code ORDER BY first LIMIT ?"
    return [list(row) for row in connection.execute(query, (limit,))]


def csv_lines(connection: sqlite3.Connection, table: Table) -> Iterator[str]:
    """`table` as CSV with a header, from one snapshot, some thousand lines at a time."""
    cursor = connection.execute(table.query)
    yield ",".join(column[0] for column in cursor.description) + "\n"
    while rows := cursor.fetchmany(ROWS):
        text = io.StringIO()
        csv.writer(text, quoting=table.quoting, lineterminator="\n").writerows(rows)
        yield text.getvalue()


def write_csv(path: Path, target: Path) -> None:
    """The values in the ledger at `path` as the file `target`."""
    with opened(path) as connection, whole(target) as file:
        file.writelines(csv_lines(connection, RESULTS))


@contextmanager
def whole(target: Path) -> Iterator[TextIO]:
    """The file `target`, which is there whole or as it was before."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
