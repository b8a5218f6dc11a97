"""How indices become parameters: the three parameter spaces a message can name.

A chunk of a `Count` or a `Grid` is a few integers, whatever its size; a `Listed` chunk carries its parameters, because a
worker pod does not have the user's file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from worker.errors import MalformedMessage

Ranges = tuple[tuple[int, int], ...]
"""Half-open index ranges, ascending and disjoint: ((0, 100), (105, 106))."""

MOST_PARAMETERS = 2**63 - 1
"""An index is a 64-bit integer in the ledger."""


class Space(Protocol):
    """What a chunk knows about its parameters."""

    def parameters(self, ranges: Ranges) -> Sequence[Any]:
        """The parameters of `ranges`, in order."""

    def subset(self, ranges: Ranges, within: Ranges) -> Space:
        """This space, for the chunk `ranges` cut out of the chunk `within`."""

    def to_json(self) -> dict[str, Any]:
        """What travels in a message; `from_json` reads it."""


@dataclass(frozen=True, slots=True)
class Count:
    """The parameter is the index itself, an int."""

    def parameters(self, ranges: Ranges) -> Sequence[Any]:
        return range(*ranges[0]) if len(ranges) == 1 else expand(ranges)

    def subset(self, ranges: Ranges, within: Ranges) -> Count:
        return self

    def to_json(self) -> dict[str, Any]:
        return {"kind": "count"}


@dataclass(frozen=True, slots=True)
class Axis:
    """`steps` evenly spaced floats from `first` to `last`, both included."""

    name: str
    first: float
    last: float
    steps: int

    def value(self, position: int) -> float:
        if position == self.steps - 1 and position > 0:
            return self.last  # exactly: the arithmetic below may miss it by a rounding
        return self.first + (self.last - self.first) * position / max(self.steps - 1, 1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The parameter is a dict of axis name to float: the row-major product, first axis slowest."""

    axes: tuple[Axis, ...]

    @property
    def total(self) -> int:
        total = 1
        for axis in self.axes:
            total *= axis.steps
        return total

    def parameter(self, index: int) -> dict[str, float]:
        values: dict[str, float] = {}
        for axis in reversed(self.axes):
            index, position = divmod(index, axis.steps)
            values[axis.name] = axis.value(position)
        return {axis.name: values[axis.name] for axis in self.axes}

    def parameters(self, ranges: Ranges) -> Sequence[Any]:
        return [self.parameter(index) for index in expand(ranges)]

    def subset(self, ranges: Ranges, within: Ranges) -> Grid:
        return self

    def to_json(self) -> dict[str, Any]:
        return {"kind": "grid", "axes": [[axis.name, axis.first, axis.last, axis.steps] for axis in self.axes]}


@dataclass(frozen=True, slots=True)
class Listed:
    """The parameters themselves, one for each index of the chunk, in order (lines of the user's file)."""

    values: tuple[Any, ...]

    def parameters(self, ranges: Ranges) -> Sequence[Any]:
        return self.values

    def subset(self, ranges: Ranges, within: Ranges) -> Listed:
        position = {index: place for place, index in enumerate(expand(within))}
        return Listed(tuple(self.values[position[index]] for index in expand(ranges)))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "list", "parameters": list(self.values)}


def from_json(data: Any) -> Space:
    """The space that `to_json` described.

    Raises:
        MalformedMessage: it describes none.
    """
    match data:
        case {"kind": "count"}:
            return Count()
        case {"kind": "grid", "axes": [_, *_] as axes}:
            return Grid(tuple(_axis(axis) for axis in axes))
        case {"kind": "list", "parameters": list(values)}:
            return Listed(tuple(values))
    raise MalformedMessage(f"the parameter space {data!r:.200} is none of count, grid and list")


def _axis(data: Any) -> Axis:
    match data:
        case [str(name), first, last, int(steps)] if _is_number(first) and _is_number(last) and 0 < steps <= MOST_PARAMETERS:
            return Axis(name, float(first), float(last), steps)
    raise MalformedMessage(f"the axis {data!r:.200} is not [name, first, last, steps]")


def _is_number(data: Any) -> bool:
    """Whether `data` is a number, and not too large for a float."""
    return type(data) in (int, float) and abs(data) <= sys.float_info.max


def expand(ranges: Ranges) -> list[int]:
    """Every index of `ranges`, in order."""
    return [index for start, stop in ranges for index in range(start, stop)]


def compress(indices: Sequence[int]) -> Ranges:
    """The shortest ranges that hold the ascending `indices`."""
    ranges: list[tuple[int, int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def size(ranges: Ranges) -> int:
    """How many indices `ranges` hold."""
    return sum(stop - start for start, stop in ranges)
