"""Whatever a parameter file holds: parameters, the same however they are read, or one sentence that names the line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.parameters import open_file
from tests.fuzz.mutation import NASTY, json_texts
from worker.errors import SettingsError
from worker.messages import Chunk

CSV_PIECES = [
    *(b'"', b'""', b",", b";", b"\n", b"\n\n", b"\r", b"\r\n", b"\0", b" ", b"\t", b"a", b"b", b"1", b"2.5", b"nan", b"\\", b"'"),
    *(
        "é\u2028\x85\x0b\x1c".encode(),
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xed\xa0\x80",
        b"x" * 100_000,
        b"a,b\n",
        b"1,2\n",
        b'"1\n2",3\r\n',
    ),
]
JSON_PIECES = [
    *CSV_PIECES,
    *(text.encode() for text in NASTY),
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b"1\n",
    b"[1, 2]\n",
    b'{"a": 1}\r\n',
]


def pieces(of: list[bytes], begin: bytes) -> st.SearchStrategy[bytes]:
    """A file put together from `of`, often with the proper beginning `begin`."""
    return st.tuples(st.sampled_from([b"", begin]), st.lists(st.sampled_from(of) | st.binary(max_size=4)).map(b"".join)).map(
        b"".join
    )


def csv_rows(text: str) -> list[Any]:
    header, *rows = (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
    return [dict(zip(header, row, strict=True)) for row in rows]


def json_values(text: str) -> list[Any]:
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@settings(max_examples=600, deadline=None)
@given(content=pieces(CSV_PIECES, b"a,b\n"))
def test_any_bytes_are_a_table_or_a_sentence(folder: Path, content: bytes) -> None:
    read(folder / "p.csv", content, csv_rows)


@settings(max_examples=600, deadline=None)
@given(content=pieces(JSON_PIECES, b"1\n") | st.lists(json_texts()).map(lambda lines: "\n".join(lines).encode()))
def test_any_bytes_are_lines_of_json_or_a_sentence(folder: Path, content: bytes) -> None:
    read(folder / "p.jsonl", content, json_values)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_a_nasty_text_is_a_line_of_json_or_a_sentence(folder: Path, text: str) -> None:
    read(folder / "p.jsonl", f"1\n{text}\n2\n".encode(), json_values)


def read(path: Path, content: bytes, expected: Callable[[str], list[Any]]) -> None:
    """Read `content` in order, and each parameter alone; or check the sentence."""
    path.write_bytes(content)
    try:
        file = open_file(path)
    except SettingsError as error:
        refusal = str(error)
        assert re.match(rf"PARAMETER_FILE={path}(: line [0-9]+ | holds no parameter)", refusal)
        assert len(refusal.encode()) < 1_000
        return
    everything = ((0, file.total),)
    values = list(file.space_of(everything).values)
    assert values == expected(content.decode("utf-8-sig"))
    assert [file.space_of(((index, index + 1),)).values for index in range(file.total)] == [(value,) for value in values]
    chunk = Chunk("r", "code", file.space_of(everything), everything)
    assert Chunk.decode(chunk.encode(), "r") == chunk
