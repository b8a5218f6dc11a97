"""Whatever a function returns or raises: JSON text, or an error of that one parameter."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import levels_of
from worker.errors import MAX_ERROR_LENGTH
from worker.values import NotJson, describe, encode

LONGEST = 10_000


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Endless:
    """What it becomes is never a list."""

    def tolist(self) -> Endless:
        return Endless()


class Peculiar(float):
    """Python's JSON does not ask it."""

    def __repr__(self) -> str:
        return "not JSON"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
NASTY = [
    *(10**5_000, [10**5_000], {"a": -(10**5_000)}, 2**63, 1e308 * 10, -0.0, "\ud800", b"x", {1, 2}, 1j, type, len, ...),
    *(Unprintable(), [Unprintable()], Endless(), Peculiar(1.5), CIRCLE, levels_of(100_000), {(1,): 2}, {None: 1}, "x" * 20_000),
    *(
        np.float64("nan"),
        np.bool_(True),
        np.datetime64("2020"),
        np.array([[1, 2]]),
        np.array([object()]),
        np.array(5),
        [np.int8(1)],
    ),
]


def values() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
    keys = st.text() | st.integers() | st.floats() | st.none() | st.binary(max_size=2)
    return st.recursive(scalars, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(keys, inner))


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_a_nasty_value_is_a_line_of_json_or_the_functions_own_fault(value: Any) -> None:
    for holder in (value, [value], {"a": value}):
        write(holder)


@settings(max_examples=300, deadline=None)
@given(values())
def test_any_value_is_a_line_of_json_or_the_functions_own_fault(value: Any) -> None:
    write(value)


def write(value: Any) -> None:
    try:
        text = encode(value, LONGEST)
    except NotJson as error:
        refusal = describe(error)
        assert refusal.startswith("NotJson: the function returned ")
        assert len(refusal.encode()) <= 4 * MAX_ERROR_LENGTH
        return
    assert text.isascii()
    assert "\n" not in text
    assert len(text) <= LONGEST
    json.loads(text, parse_constant=pytest.fail)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([ValueError, OSError, SystemExit, NotJson, KeyboardInterrupt, ExceptionGroup]), st.text() | values())
def test_any_error_is_text_that_can_be_kept(kind: type[BaseException], argument: Any) -> None:
    error = kind("group", [Mute(argument)]) if kind is ExceptionGroup else kind(argument)
    for text in (describe(error), describe(Mute(argument))):
        assert 0 < len(text.encode()) <= 4 * MAX_ERROR_LENGTH
