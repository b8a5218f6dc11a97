"""Between a worker and its child: messages however the pipe cuts them, and a sentence for a text in between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import TaskError
from worker.pipe import Message, Reader, pack

MESSAGES: list[Message] = [
    ("ready",),
    ("outcomes", ["1", ("ValueError: \udcff", False, 1.5)], 0.25),
    ("outcomes", ["x" * 300], 1.0),
]
SENT = b"".join(map(pack, MESSAGES))


@contextmanager
def reading(parts: Sequence[bytes]) -> Iterator[list[Message]]:
    """The messages that `parts`, each written at once, make."""
    reader, writer = os.pipe()
    messages: list[Message] = []
    try:
        pipe = Reader(reader)
        for part in parts:
            os.write(writer, part)
            messages += pipe.read()
        yield messages
    finally:
        os.close(reader)
        os.close(writer)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, len(SENT) - 1)))
def test_messages_arrive_whole_wherever_they_are_cut(cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(SENT)]
    with reading([SENT[start:stop] for start, stop in pairwise(places)]) as messages:
        assert messages == MESSAGES


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="utf-8", min_codepoint=1), min_size=8).map(str.encode))
def test_a_text_is_no_message_and_is_not_waited_for(sent: bytes) -> None:
    with pytest.raises(TaskError), reading([sent]):
        pass
