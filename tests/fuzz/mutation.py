"""Messages that nobody would write: strategies that spoil a JSON document, or the bytes of a message."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

MARK = "spoiled here"

NASTY = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "-0.0", "1.5", "-1", "0", "null", "true", "[]", "{}", '""'),
    *(str(2**31), str(2**63 - 1), str(2**63), "9" * 400, "9" * 4_300, "9" * 5_000, "9" * 100_000 + "e9"),
    *("[" * levels + "]" * levels for levels in (100, 300, 950, 970, 1_000, 3_000, 20_000)),
    *("[" * 100_000, '{"a":' * 3_000 + "1" + "}" * 3_000),
    *('"\\ud800"', '"\\u0000"', '"\\udcff and more"', '"' + "x" * 100_000 + '"'),
    *('{"kind":"count","parameters":5}', '{"kind":"count","kind":"list","parameters":[1]}', '{"kind":"list","parameters":[NaN]}'),
    *("[[0,1000000000000000]]", "[[0,9223372036854775807]]", "[[0,9223372036854775808]]", f"[[0,{'9' * 4_000}]]"),
    *("[[0,3000000]]", "[[1,2],[0,1]]", "[[-1,1]]", "[[false,true]]", "[[0,1.0]]", "[[0,1],[1,2],[2,3]]"),
    *('[["a",0,1e999,3]]', f'[["a",0,{"9" * 400},3]]', f'[["a",0,1,{"9" * 400}]]', '[["a",true,false,true]]', "[[0,0,0,0]]"),
    *('[[1,"e",9223372036854775808]]', '[[1,"\\udcff",1]]', '[[1,"e",-1]]', '["0-1","1-0","x",7,[[]]]'),
]
"""JSON texts, and some that are nearly one, that look for a weak place each."""


def json_texts() -> st.SearchStrategy[str]:
    """The text of any value that Python's `json` writes."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.characters(categories=["Cs"])
    values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8)
    return values.map(json.dumps)


def swept(document: dict[str, Any]) -> Iterator[bytes]:
    """`document` with each nasty text in each place, at any depth, or nothing there; and with each of its own keys twice."""
    for path in _places(document):
        for text in NASTY:
            yield _spoiled(document, path, text)
        yield _spoiled(document, path, "")
    for key, text in itertools.product(document, NASTY):
        yield f"{json.dumps(document)[:-1]},{json.dumps(key)}:{text}}}".encode()


def spoiled(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """`document` with any JSON in any place."""
    return st.builds(_spoiled, st.just(document), st.sampled_from(list(_places(document))), json_texts())


def _places(document: Any) -> Iterator[tuple[Any, ...]]:
    """The path to each place in `document`, as keys and positions."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield (key,)
        if isinstance(value, dict | list):
            yield from ((key, *below) for below in _places(value))


def _spoiled(document: dict[str, Any], path: tuple[Any, ...], text: str) -> bytes:
    """`document` with `text` at the place `path`; nothing, if `text` is empty."""
    document = copy.deepcopy(document)
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = MARK
    if not text:
        del parent[path[-1]]
    return json.dumps(document).replace(json.dumps(MARK), text).encode()


@st.composite
def edited(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` with some of its bytes replaced, removed, or others put in."""
    spoiled = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(spoiled)))
        stop = start + draw(st.integers(0, 3))
        spoiled[start:stop] = draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"[", b"{", b"\n", b"0", b"\xed\xa0\x80"])
        )
    return bytes(spoiled)


def levels_of(count: int) -> list[Any]:
    """A list in a list in a list, so many levels deep."""
    value: list[Any] = []
    for _ in range(count - 1):
        value = [value]
    return value
