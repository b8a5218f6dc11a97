"""The rules by which results become the ledger's outcomes."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts import reading
from scripts.store import Unwritable
from scripts.tally import RETRIED
from tests.unit.ledgers import Books, failed, result


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    with closing(Books(tmp_path)) as books:
        yield books


def test_values_are_stored_as_they_came(books: Books) -> None:
    refused = books.intake.take([result(((0, 2), (5, 6)), ['{"a":  1}', "2.50", '"\\n"'])])
    assert refused == {}
    assert books.results() == {0: '{"a":  1}', 1: "2.50", 5: '"\\n"'}
    assert (books.tally.cells.done, books.tally.cells.missing, books.tally.counters.computed) == (3, 97, 3)


def test_the_first_value_stays_and_the_other_one_is_kept_beside_it(books: Books) -> None:
    books.intake.take([result(((0, 10),))])
    books.intake.take([result(((5, 15),), ["5", "6", "7", "8.5", "9", *map(str, range(10, 15))], worker="w2")])
    assert books.results() == {index: str(index) for index in range(15)}
    assert books.tally.counters.duplicates == 5
    assert books.tally.counters.disagreements == 1
    with closing(sqlite3.connect(books.path)) as connection:
        assert connection.execute("SELECT * FROM disagreements").fetchall() == [(8, "8", "8.5", "w2")]


def test_a_result_that_is_delivered_again_in_the_same_batch_disagrees_with_nothing(books: Books) -> None:
    books.intake.take([result(((0, 10),))] * 3)
    assert (books.tally.cells.done, books.tally.counters.duplicates, books.tally.counters.disagreements) == (10, 20, 0)


def test_the_same_disagreement_counts_once(books: Books) -> None:
    other = result(((0, 1),), ["7"], worker="w2")
    books.intake.take([result(((0, 1),)), other, other])
    assert (books.tally.counters.duplicates, books.tally.counters.disagreements) == (2, 1)


@pytest.mark.parametrize("value_first", [True, False])
def test_a_value_beats_a_dead_record_whichever_comes_first(books: Books, value_first: bool) -> None:
    messages = [result(((3, 4),)), result((), dead=failed(3))]
    for message in messages if value_first else reversed(messages):
        books.intake.take([message])
    assert books.results() == {3: "3"}
    assert books.dead() == []
    assert books.tally.cells.dead == 0


def test_a_dead_parameter_is_kept_with_its_error_and_attempts(books: Books) -> None:
    books.intake.take([result((), dead=failed(3, 4, error="ValueError: two\nlines", attempt=4))])
    with reading.opened(books.path) as connection:
        assert "".join(reading.csv_lines(connection, reading.DEAD_PARAMETERS)) == (
            'parameter,error,attempts\n3,"ValueError: two\nlines",4\n4,"ValueError: two\nlines",4\n'
        )


def test_an_error_that_names_a_file_in_another_encoding_is_kept(books: Books) -> None:
    file_name = os.fsdecode(b"caf\xe9.txt")
    assert books.intake.take([result((), dead=failed(3, error=f"FileNotFoundError: {file_name}"))]) == {}
    with reading.opened(books.path) as connection:
        assert "FileNotFoundError: caf\\udce9.txt" in "".join(reading.csv_lines(connection, reading.DEAD_PARAMETERS))


def test_a_parameter_that_is_tried_again_stays_missing(books: Books) -> None:
    books.intake.take([result(((0, 3),), retried=failed(3, attempt=1))])
    assert books.tally.cells[3] == RETRIED
    assert books.tally.cells.missing == 97
    books.intake.take([result(((3, 4),))])
    books.intake.take([result((), retried=failed(3, attempt=1))])  # late
    assert books.tally.cells.missing == 96


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "not JSON"),
        (b"{}", "schema"),
        (result(((0, 1),)).replace(b'"run":"test"', b'"run":"other"'), "other"),
        (result(((0, 1),)).replace(b'"schema":1', b'"schema":99'), "newer"),
        (result(((99, 101),)), "parameter 100"),
        (result((), dead=failed(100)), "parameter 100"),
        (result((), computing=["all of them"]), "no chunks"),
        (result(((0, 1),), stamp="changed"), "computed by code changed"),
    ],
)
def test_what_cannot_count_is_refused_with_a_reason_and_the_rest_of_the_batch_counts(
    books: Books, body: bytes, reason: str
) -> None:
    refused = books.intake.take([result(((0, 10),)), body, result(((10, 20),))])
    assert list(refused) == [1]
    assert reason in refused[1]
    assert books.tally.cells.done == 20
    assert books.tally.counters.refused == 1


def test_changed_code_that_is_accepted_is_kept_by_range(tmp_path: Path) -> None:
    with closing(Books(tmp_path, accept_changed_code=True)) as books:
        books.intake.take([result(((0, 10),)), result(((20, 30),), stamp="other"), result(((10, 20),), stamp="other")])
        books.intake.take([result(((0, 5), (40, 41)), stamp="other"), result(((41, 42),), stamp="third")])
        assert books.store.changed_code(10) == [[10, 29, "other"], [40, 40, "other"], [41, 41, "third"]]
        assert [event["kind"] for event in books.store.recent(10)].count("changed code") == 2


def test_an_empty_result_is_a_sign_of_life(books: Books) -> None:
    books.intake.take([result((), chunk="", computing=["0-9", "10-19"], stamp="changed")])
    (worker,) = books.tally.live(1005.0, patience=9.0)
    assert (worker.name, worker.node, worker.seen) == ("w1", "n1", 1000.0)
    assert books.tally.held(1005.0, 9.0) == ((0, 10), (10, 20))
    assert books.tally.held(1010.0, 9.0) == ()
    assert books.tally.counters.chunks == 0


def test_a_batch_that_cannot_be_written_leaves_no_trace(books: Books) -> None:
    books.intake.take([result(((0, 10),))])
    limit_pages(books, 12)
    message = result(((10, 50),), ['"' + 1000 * "x" + '"'] * 40, dead=failed(60), retried=failed(61), worker="w2")
    with pytest.raises(Unwritable, match="full"):
        books.intake.take([message])
    assert books.results() == {index: str(index) for index in range(10)}
    assert (books.tally.cells.done, books.tally.cells.dead, books.tally.counters.computed) == (10, 0, 10)
    assert list(books.tally.workers) == ["w1"]
    limit_pages(books, 1_000_000)
    books.intake.take([message])
    assert (books.tally.cells.done, books.tally.cells.dead) == (50, 1)


def limit_pages(books: Books, pages: int) -> None:
    """As a full disk does: SQLite says "database or disk is full" beyond so many pages."""
    books.store._connection.execute(f"PRAGMA max_page_count = {pages}")


VALUE = st.tuples(st.just("value"), st.integers(0, 19), st.integers(1, 6), st.sampled_from("ab"))
DEAD = st.tuples(st.just("dead"), st.integers(0, 19), st.just(1), st.just("ValueError"))
RETRY = st.tuples(st.just("retried"), st.integers(0, 19), st.just(1), st.just("OSError"))
MESSAGES = st.lists(st.one_of(VALUE, DEAD, RETRY), max_size=20)


@settings(max_examples=60, deadline=None)
@given(messages=MESSAGES, batches=st.lists(st.integers(1, 5), min_size=20, max_size=20), full=st.integers(0, 8))
def test_any_messages_in_any_batches_give_the_outcomes_of_the_rules(
    messages: list[tuple[str, int, int, str]], batches: list[int], full: int
) -> None:
    values: dict[int, str] = {}
    dead: set[int] = set()
    bodies = []
    for kind, start, length, text in messages:
        stop = min(start + length, 20)
        if kind == "value":
            for index in range(start, stop):
                values.setdefault(index, f'"{text}"')
            bodies.append(result(((start, stop),), [f'"{text}"'] * (stop - start), total=20))
        else:
            dead |= {start} if kind == "dead" else set()
            failures = failed(start, error=text)
            bodies.append(result((), total=20, dead=failures) if kind == "dead" else result((), total=20, retried=failures))
    with tempfile.TemporaryDirectory() as folder, closing(Books(Path(folder), 20)) as books:
        for number, count in enumerate(batches):
            batch, bodies = bodies[:count], bodies[count:]
            if number == full:  # one batch fails and is repeated, as with a full disk
                with patch.object(books.store, "save", side_effect=sqlite3.OperationalError("full")), pytest.raises(Unwritable):
                    books.intake.take(batch)
            assert books.intake.take(batch) == {}
        assert books.results() == values
        assert books.dead() == sorted(dead - set(values))
        assert books.tally.counters.duplicates + len(values) >= books.tally.counters.computed
        known = books.tally.cells.states.replace(b"\2", b"\0")
        assert known == books.store.load().cells.states
