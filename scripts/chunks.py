"""Cutting index ranges into task messages: the seed does it once, repair again."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.parameters import ParameterSpace
from worker.config import Settings
from worker.errors import SettingsError
from worker.messages import Chunk
from worker.space import Ranges


def chunks(settings: Settings, run: str, stamp: str, space: ParameterSpace, ranges: Ranges) -> Iterator[Chunk]:
    """`ranges` as chunks of at most CHUNK_SIZE parameters and MAX_MESSAGE_BYTES, attempt 1.

    Raises:
        SettingsError: a single parameter is longer than a message may be.
    """
    for start, stop in ranges:
        for first in range(start, stop, settings.chunk_size):
            part = ((first, min(first + settings.chunk_size, stop)),)
            yield from _fitting(Chunk(run, stamp, space.space_of(part), part), settings.max_message_bytes)


def _fitting(chunk: Chunk, limit: int) -> Iterator[Chunk]:
    if len(chunk.encode()) <= limit:
        yield chunk
    elif len(chunk) == 1:
        raise SettingsError(
            f"parameter {chunk.ranges[0][0]} is longer than a message of MAX_MESSAGE_BYTES={limit}; "
            "raise it, or let the parameter name a file instead of holding it"
        )
    else:
        ((start, stop),) = chunk.ranges
        middle = (start + stop) // 2
        for part in ((start, middle), (middle, stop)):
            yield from _fitting(chunk.part((part,)), limit)
