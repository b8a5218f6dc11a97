"""What is sent is what is read, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ForeignMessage, MalformedMessage
from worker.messages import LARGEST_CHUNK, Chunk, Failure, Result
from worker.space import Axis, Count, Grid, Listed, Ranges, compress, expand, size

CHUNK = Chunk("r", "code", Count(), ((0, 100), (105, 106)), 2)
RESULT = Result(
    "r",
    "code",
    "w",
    "n",
    ranges=((0, 2), (5, 6)),
    values=["1", '"two\\nlines"', '{"a":null}'],
    dead=[Failure(3, "ValueError: é", 4)],
    retried=[Failure(4, "Traceback\nTypeError: x", 1)],
    chunk="0-5",
    computing=["6-9"],
    seconds=1.5,
)


def ranges() -> st.SearchStrategy[Ranges]:
    return st.sets(st.integers(0, 10**12), min_size=1, max_size=50).map(lambda indices: compress(sorted(indices)))


@given(ranges(), st.integers(1, 100), st.text(max_size=20))
def test_a_chunk_is_read_as_it_was_sent(spans: Ranges, attempt: int, stamp: str) -> None:
    chunk = Chunk("r", stamp, Count(), spans, attempt)
    assert Chunk.decode(chunk.encode(), "r") == chunk


@given(ranges(), st.text())
def test_a_result_is_read_as_it_was_sent(spans: Ranges, text: str) -> None:
    values = [json.dumps([text, index]) for index in expand(spans)]
    result = Result("r", "code", text, text, spans, values, dead=[Failure(1, text, 3)])
    assert Result.decode(result.encode(), "r") == result


def test_a_result_with_everything_is_read_as_it_was_sent() -> None:
    assert Result.decode(RESULT.encode(), "r") == RESULT


def test_a_sign_of_life_has_no_value_lines() -> None:
    sign = Result("r", "code", "w", "n", computing=["0-9"])
    assert Result.decode(sign.encode(), "r") == sign
    assert b"\n" not in sign.encode()


def test_a_listed_chunk_carries_its_parameters_and_a_part_only_its_own() -> None:
    chunk = Chunk("r", "code", Listed(("a", {"b": 1}, None)), ((4, 5), (7, 9)))
    again = Chunk.decode(chunk.encode(), "r")
    assert again.space.parameters(again.ranges) == ("a", {"b": 1}, None)
    assert again.part(((8, 9),), attempt=2) == Chunk("r", "code", Listed((None,)), ((8, 9),), 2)


def test_a_grid_chunk_computes_its_parameters_first_axis_slowest_both_ends_included() -> None:
    grid = Grid((Axis("a", 0.0, 1.0, 3), Axis("b", -1.0, 0.1, 2)))
    chunk = Chunk.decode(Chunk("r", "code", grid, ((0, 6),)).encode(), "r")
    parameters = list(chunk.space.parameters(chunk.ranges))
    assert parameters[:3] == [{"a": 0.0, "b": -1.0}, {"a": 0.0, "b": 0.1}, {"a": 0.5, "b": -1.0}]
    assert parameters[-1] == {"a": 1.0, "b": 0.1}


def test_an_axis_of_one_step_is_its_first_value() -> None:
    assert Axis("a", 2.0, 3.0, 1).value(0) == 2.0


@given(st.sets(st.integers(0, 1000)))
def test_compressed_indices_expand_to_themselves(indices: set[int]) -> None:
    assert expand(compress(sorted(indices))) == sorted(indices)
    assert size(compress(sorted(indices))) == len(indices)


def test_a_result_too_long_is_split_without_losing_or_doubling_an_outcome() -> None:
    values = [json.dumps("x" * 100)] * 1000
    dead = [Failure(index, "e" * 200, 1) for index in range(1000, 1100)]
    retried = [Failure(index, "e" * 200, 1) for index in range(1100, 1200)]
    result = Result("r", "code", "w", "n", ((0, 1000),), values, dead, retried, chunk="0-1199")
    messages = result.encode_within(20_000)
    parts = [Result.decode(message, "r") for message in messages]
    assert max(map(len, messages)) <= 20_000
    assert [index for part in parts for index in expand(part.ranges)] == list(range(1000))
    assert [value for part in parts for value in part.values] == values
    assert [failure for part in parts for failure in part.dead] == dead
    assert [failure for part in parts for failure in part.retried] == retried


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b"7", b'{"schema":1}', b"{" * 100_000])
def test_what_is_no_message_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        Chunk.decode(body, "r")
    with pytest.raises(MalformedMessage):
        Result.decode(body, "r")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ranges", []),
        ("ranges", [[3, 3]]),
        ("ranges", [[5, 9], [0, 2]]),
        ("ranges", [[-1, 2]]),
        ("ranges", [[0, 1.5]]),
        ("ranges", "0-9"),
        ("ranges", [[False, True]]),
        ("ranges", [[0, 10**15]]),
        ("ranges", [[2**63, 2**63 + 1]]),
        ("attempt", 0),
        ("attempt", 2**63),
        ("attempt", True),
        ("stamp", None),
        ("space", {"kind": "random"}),
        ("space", {"kind": "grid", "axes": []}),
        ("space", {"kind": "grid", "axes": [["a", 0, 1, 0]]}),
        ("space", {"kind": "grid", "axes": [["a", 0, 10**400, 3]]}),
        ("space", {"kind": "grid", "axes": [["a", 0, 1, 10**400]]}),
        ("space", {"kind": "list", "parameters": [1]}),
        ("space", {"kind": "list", "parameters": [math.nan] * 101}),
        ("space", None),
        ("stamp", "half a surrogate: \ud800"),
    ],
)
def test_a_chunk_with_a_wrong_field_is_malformed(key: str, value: Any) -> None:
    with pytest.raises(MalformedMessage):
        Chunk.decode(json.dumps({**json.loads(CHUNK.encode()), key: value}).encode(), "r")


def test_a_chunk_is_as_large_as_a_worker_can_hold_and_no_larger() -> None:
    largest = Chunk("r", "code", Count(), ((0, LARGEST_CHUNK),))
    assert Chunk.decode(largest.encode(), "r") == largest
    with pytest.raises(MalformedMessage, match="1000001 indices, more than 1000000"):
        Chunk.decode(replace(largest, ranges=((0, LARGEST_CHUNK + 1),)).encode(), "r")


def test_parameters_beside_a_space_that_has_none_are_passed_over() -> None:
    body = CHUNK.encode().replace(b'{"kind":"count"}', b'{"kind":"count","parameters":5}')
    assert Chunk.decode(body, "r") == CHUNK


@pytest.mark.parametrize("levels", [501, 2_500, 100_000])
def test_parameters_nested_too_deeply_for_a_child_process_are_malformed(levels: int) -> None:
    parameters = "[" * levels + "]" * levels
    body = Chunk("r", "code", Listed((0,)), ((0, 1),)).encode().replace(b"[0]", f"[{parameters}]".encode())
    with pytest.raises(MalformedMessage, match="more than 500 levels"):
        Chunk.decode(body, "r")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seconds", math.nan),
        ("seconds", math.inf),
        ("seconds", -1),
        ("seconds", 10**400),
        ("dead", [[1, "no", 2**63]]),
        ("dead", [[2**63, "no", 1]]),
        ("dead", [[True, "no", 1]]),
        ("worker", "half a surrogate: \ud800"),
    ],
)
def test_a_result_with_what_the_ledger_cannot_store_is_malformed(key: str, value: Any) -> None:
    head, newline, values = RESULT.encode().partition(b"\n")
    header = json.dumps({**json.loads(head), key: value}).encode()
    with pytest.raises(MalformedMessage):
        Result.decode(header + newline + values, "r")


def test_a_result_whose_values_do_not_match_its_indices_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="3 indices and 2 values"):
        Result.decode(RESULT.encode().rpartition(b"\n")[0], "r")


@given(st.binary(max_size=200))
def test_no_bytes_make_decoding_fail_in_another_way(body: bytes) -> None:
    for decode in (Chunk.decode, Result.decode):
        with contextlib.suppress(MalformedMessage):
            decode(body, "r")


def test_another_run_and_a_newer_schema_are_foreign() -> None:
    with pytest.raises(ForeignMessage, match="run 'r'"):
        Chunk.decode(CHUNK.encode(), "another")
    with pytest.raises(ForeignMessage, match="schema 2"):
        Chunk.decode(CHUNK.encode().replace(b'"schema":1', b'"schema":2'), "r")


def test_keys_that_a_later_version_adds_are_passed_over() -> None:
    body = json.dumps({**json.loads(CHUNK.encode()), "colour": "green"}).encode()
    assert Chunk.decode(body, "r") == CHUNK
