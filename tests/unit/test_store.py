"""The ledger's file: what it accepts, what it refuses, and what others read from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.reading import BLOCK, missing_in, write_csv
from scripts.store import DamagedLedger, Store, Unwritable
from tests.unit.ledgers import Books, failed, result, run_of
from worker.errors import SettingsError


def test_what_is_known_survives_a_restart(tmp_path: Path) -> None:
    with closing(Books(tmp_path)) as books:
        books.intake.take([result(((0, 10),), seconds=2.5), result((), dead=failed(50)), result((), retried=failed(60))])
        before = books.tally
    with closing(Books(tmp_path)) as books:
        assert (books.tally.cells.done, books.tally.cells.dead, books.tally.cells.missing) == (10, 1, 89)
        assert books.tally.counters == before.counters
        (worker,) = books.tally.workers.values()
        assert (worker.done, worker.retried, worker.dead, worker.seconds) == (10, 1, 1, 2.5)


def test_a_large_file_is_loaded_by_blocks(tmp_path: Path) -> None:
    total = 3 * BLOCK + 7
    with closing(Store(tmp_path / "ledger.sqlite", run_of(total), 0.0)) as store:
        with store.transaction():
            store.insert_values((index, "0") for index in range(BLOCK, total) if index != 2 * BLOCK + 1)
        assert list(store.load().cells.missing_ranges(0, total)) == [(0, BLOCK), (2 * BLOCK + 1, 2 * BLOCK + 2)]


@pytest.mark.parametrize("field", ["run", "task", "space", "total", "seed"])
def test_the_file_of_another_run_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "ledger.sqlite"
    Store(path, run_of(100), 0.0).close()
    changed = {"run": "else", "task": "a:b", "space": "0", "total": 101, "seed": 1}
    other = replace(run_of(100), **{field: changed[field]})  # type: ignore[arg-type]  # the table above has their types
    with pytest.raises(SettingsError, match=r"holds run test .* and this is run .*; choose another output folder"):
        Store(path, other, 0.0)


def test_changed_code_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Store(path, run_of(100), 0.0).close()
    changed = replace(run_of(100), stamp="changed")
    with pytest.raises(SettingsError, match=r"the code is changed now; go on with --accept-changed-code, or choose another"):
        Store(path, changed, 0.0)
    with closing(Store(path, changed, 0.0, accept_changed_code=True)) as store:
        assert store.began.stamp == run_of(100).stamp


def test_a_second_ledger_on_the_same_file_is_refused(tmp_path: Path) -> None:
    with (
        closing(Books(tmp_path)) as books,
        pytest.raises(SettingsError, match="in the hands of another ledger"),
    ):
        Store(books.path, run_of(100), 0.0)
    Books(tmp_path).close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    Books(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SettingsError, match="has schema 99"):
        Books(tmp_path)


def text(path: Path) -> None:
    path.write_text("parameter,value\n" * 100)


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE birds(name)")


@pytest.mark.parametrize("make", [text, other_database])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "ledger.sqlite"
    make(path)
    with pytest.raises(SettingsError, match="no ledger"):
        Store(path, run_of(100), 0.0)
    with pytest.raises(SettingsError, match="no ledger"):
        missing_in(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere/ledger.sqlite cannot be written: No such file"):
        Store(tmp_path / "nowhere" / "ledger.sqlite", run_of(100), 0.0)
    with pytest.raises(SettingsError, match="cannot be read"):
        missing_in(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_transaction_that_is_left_by_an_error_did_not_happen(tmp_path: Path) -> None:
    with closing(Books(tmp_path)) as books:
        for raised, seen in [
            (KeyError("a bug"), KeyError),
            (sqlite3.OperationalError("disk I/O error"), Unwritable),
            (sqlite3.DatabaseError("database disk image is malformed"), DamagedLedger),
        ]:
            with pytest.raises(seen):
                write_then_raise(books.store, raised)
        assert books.results() == {}


def write_then_raise(store: Store, error: Exception) -> None:
    with store.transaction():
        store.insert_values([(0, "0")])
        raise error


def test_dead_parameters_are_given_another_chance_and_their_errors_are_kept(tmp_path: Path) -> None:
    with closing(Books(tmp_path)) as books:
        books.intake.take([result((), dead=failed(3, 4, 5))])
        with books.store.transaction():
            assert books.store.retry_dead(0.0, [4, 5, 99]) == [4, 5]
        assert books.dead() == [3]
        with books.store.transaction():
            assert books.store.retry_dead(0.0) == [3]
        texts = [event["text"] for event in books.store.recent(3)]
        assert texts[0] == "parameter 4 is tried again; it was dead after 4 attempts: ValueError: no"


def test_the_missing_can_be_read_while_the_ledger_writes(tmp_path: Path) -> None:
    with closing(Books(tmp_path)) as books:
        books.intake.take([result(((10, 90),)), result((), dead=failed(95))])
        missing = missing_in(books.path)
        assert missing(0, 100) == ((0, 10), (90, 95), (96, 100))
        assert missing(5, 91) == ((5, 10), (90, 91))


def test_a_file_without_tables_yet_misses_everything(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    assert missing_in(path)(3, 5) == ((3, 5),)


def test_values_come_out_as_csv_in_the_order_of_the_indices(tmp_path: Path) -> None:
    with closing(Books(tmp_path)) as books:
        books.intake.take([result(((50, 51),), ['{"a": "x, y"}']), result(((2, 4),))])
        write_csv(books.path, tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_text() == 'parameter,value\n2,2\n3,3\n50,"{""a"": ""x, y""}"\n'
    assert {path.name for path in tmp_path.iterdir()} == {"ledger.sqlite", "results.csv"}


def test_more_parameters_than_memory_has_bytes_are_a_sentence(tmp_path: Path) -> None:
    with (
        closing(Store(tmp_path / "ledger.sqlite", run_of(2**62), 0.0)) as store,
        pytest.raises(SettingsError, match="needs as many bytes of memory"),
    ):
        store.load()
