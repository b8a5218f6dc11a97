"""Whatever arrives as a message: it is one and can be used, or it is refused; no program stops because of it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from scripts import reading
from scripts.status import status
from tests.fuzz.mutation import edited, spoiled, swept
from tests.unit.ledgers import Books, failed, result
from tests.unit.test_consumer import SETTINGS, Bench
from worker.brokers.base import Queue
from worker.errors import MalformedMessage
from worker.messages import LARGEST_CHUNK, Chunk, Result
from worker.outcomes import halves
from worker.pipe import pack
from worker.retry import Failed
from worker.space import Axis, Count, Grid, Listed, from_json

CHUNKS = [
    Chunk("r", "code", Count(), ((0, 3), (5, 6)), 2),
    Chunk("r", "code", Grid((Axis("a", 0.0, 1.5, 3), Axis("b", -1.0, 1.0, 2))), ((1, 4),)),
    Chunk("r", "code", Listed((1.5, {"a": [None, "é"]}, [True])), ((7, 10),)),
]
RESULT = result(
    ((0, 3), (5, 6)),
    ["1", '"é\\n"', "[2.5]", "null"],
    dead=failed(3),
    retried=failed(4, attempt=1),
    computing=["10-19"],
    seconds=1.5,
)


def chunk_bodies() -> st.SearchStrategy[bytes]:
    bodies = [chunk.encode() for chunk in CHUNKS]
    return st.one_of([*map(edited, bodies), *(spoiled(json.loads(body)) for body in bodies), st.binary(max_size=50)])


def swept_chunks() -> Iterator[bytes]:
    return chain.from_iterable(swept(json.loads(chunk.encode())) for chunk in CHUNKS)


def result_bodies() -> st.SearchStrategy[bytes]:
    header, _, values = RESULT.partition(b"\n")
    return edited(RESULT) | spoiled(json.loads(header)).map(lambda header: header + b"\n" + values) | st.binary(max_size=50)


def swept_results() -> Iterator[bytes]:
    header, _, values = RESULT.partition(b"\n")
    return (header + b"\n" + values for header in swept(json.loads(header)))


def check_sentence(text: str) -> None:
    """It fits into a header of AMQP."""
    assert 0 < len(text.encode()) < 1_000


def test_a_chunk_is_refused_or_can_be_computed_and_tried_again() -> None:
    for body in swept_chunks():
        decode_chunk(body)


@settings(max_examples=500, deadline=None)
@given(chunk_bodies())
def test_any_bytes_are_refused_or_a_chunk(body: bytes) -> None:
    decode_chunk(body)


def decode_chunk(body: bytes) -> None:
    try:
        chunk = Chunk.decode(body, "r")
    except MalformedMessage as error:
        check_sentence(str(error))
        return
    assert len(chunk.indices()) == len(chunk) <= LARGEST_CHUNK
    assert re.fullmatch(r"[0-9]{1,19}-[0-9]{1,19}", chunk.name)
    compute(chunk)
    for part in [chunk] if len(chunk) == 1 else [chunk, *(Chunk.decode(half.body, "r") for half in halves(chunk))]:
        assert Chunk.decode(part.encode(), "r") == part


def compute(chunk: Chunk) -> None:
    """What the worker sends to its child, and what the child does before it calls the function."""
    space = chunk.space.to_json()
    pack((space, chunk.ranges, chunk.attempt, [(0, len(chunk))]))
    assert len(from_json(space).parameters(chunk.ranges)) == len(chunk)


def test_a_result_is_refused_or_sent_again_as_it_was() -> None:
    for body in swept_results():
        decode_result(body)


@settings(max_examples=500, deadline=None)
@given(result_bodies())
def test_any_bytes_are_refused_or_a_result(body: bytes) -> None:
    decode_result(body)


def decode_result(body: bytes) -> None:
    try:
        sent = Result.decode(body, "test")
    except MalformedMessage as error:
        check_sentence(str(error))
        return
    assert Result.decode(sent.encode(), "test") == replace(sent, seconds=round(sent.seconds, 6))
    parts = [Result.decode(part, "test") for part in sent.encode_within(500)]
    assert [value for part in parts for value in part.values] == sent.values


@pytest.mark.parametrize("accept_changed_code", [True, False])
def test_a_ledger_takes_what_it_can_use_and_refuses_the_rest(accept_changed_code: bool) -> None:
    with books(accept_changed_code=accept_changed_code) as ledger:
        bodies = swept_results()
        while batch := list(islice(bodies, 200)):
            take(ledger, batch)


@settings(max_examples=100, deadline=None)
@given(st.lists(result_bodies(), min_size=1, max_size=5))
def test_a_ledger_takes_or_refuses_any_bytes(bodies: list[bytes]) -> None:
    with books(accept_changed_code=True) as ledger:
        take(ledger, bodies)


@contextmanager
def books(*, accept_changed_code: bool) -> Iterator[Books]:
    with tempfile.TemporaryDirectory() as folder, closing(Books(Path(folder), accept_changed_code=accept_changed_code)) as books:
        yield books


def take(ledger: Books, bodies: list[bytes]) -> None:
    """Take `bodies`; what counts counts, and all that is given out stays readable."""
    refused = ledger.intake.take([*bodies, result(((90, 100),))])
    for reason in refused.values():
        check_sentence(reason)
    assert ledger.results().keys() >= set(range(90, 100))
    assert ledger.store.load().cells.states == ledger.tally.cells.states.replace(b"\2", b"\0")
    ledger.tally.held(1_000.0, 9.0)
    events, changed = ledger.store.recent(20), ledger.store.changed_code(20)
    JSONResponse(status(ledger.store.began, ledger.tally, 1_000.0, events=events, changed_code=changed))
    with reading.opened(ledger.path) as connection:
        for table in (reading.RESULTS, reading.DEAD_PARAMETERS):
            "".join(reading.csv_lines(connection, table)).encode()


def test_a_worker_computes_what_it_can_use_sets_the_rest_aside_and_goes_on() -> None:
    for body in swept_chunks():
        work(body, deliveries=0, fails=True)


@settings(max_examples=200, deadline=None)
@given(chunk_bodies(), st.sampled_from([0, 3]), st.booleans())
def test_a_worker_computes_or_sets_aside_any_bytes(body: bytes, deliveries: int, fails: bool) -> None:
    work(body, deliveries, fails)


def work(body: bytes, deliveries: int, fails: bool) -> None:
    """A worker gets `body`, which took so many workers down before, and then a chunk as any other."""
    good = ((90, 100),)
    with worker() as bench:
        bench.server.add(Queue.TASKS, body)
        bench.server.queues[Queue.TASKS][0].deliveries = deliveries
        bench.seed(*good)
        for _ in range(1_000):
            bench.turns(1)
            for chunk in bench.executor.chunks[:]:
                compute(chunk)
                bench.executor.finish(*[Failed("no")] * len(chunk) if fails and chunk.ranges != good else ())
            if not bench.server.bodies(Queue.TASKS):
                break
        assert bench.tasks() == []
        assert good in [outcome.ranges for outcome in bench.results()]
        try:
            Chunk.decode(body, "r")
        except MalformedMessage:
            assert bench.server.bodies(Queue.DEAD) == [body]
        else:
            assert bench.server.bodies(Queue.DEAD) == []


@contextmanager
def worker() -> Iterator[Bench]:
    bench = Bench(replace(SETTINGS, accept_changed_code=True))
    try:
        yield bench
    finally:
        bench.executor.stop()
        for descriptor in (bench.stop._reader, bench.stop._writer):
            os.close(descriptor)
