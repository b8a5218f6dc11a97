"""The user's side of the parameter spaces: read from the settings, checked once, cut into what a chunk carries.

The worker's side is `worker.space`. A parameter file may have tens of millions of lines: it is read once, every line is
checked, and only the byte offset of each parameter is kept (8 bytes); parameters are read again when a chunk needs them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from worker import strict_json
from worker.config import Settings
from worker.errors import SettingsError
from worker.space import MOST_PARAMETERS, Axis, Count, Grid, Listed, Ranges, Space

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ParameterSpace(Protocol):
    """Every parameter of a run."""

    @property
    def total(self) -> int:
        """How many parameters there are; their indices are 0..total-1."""

    @property
    def digest(self) -> str:
        """64 hexadecimal digits; two spaces with the same digest give every index the same parameter."""

    def space_of(self, ranges: Ranges) -> Space:
        """What the chunk `ranges` carries."""

    def describe(self) -> str:
        """For people, on one line."""


def from_settings(settings: Settings) -> ParameterSpace:
    """The parameter space that `settings` name; a file is read and checked to its end.

    Raises:
        SettingsError: none is named, or several, or it cannot be used.
    """
    given = [name for name in ("parameter_count", "parameter_grid", "parameter_file") if getattr(settings, name)]
    names = [name.upper() for name in given]
    if not names:
        raise SettingsError("there are no parameters: set one of PARAMETER_COUNT, PARAMETER_GRID and PARAMETER_FILE")
    if len(names) > 1:
        raise SettingsError(f"{' and '.join(names)} are set, each a parameter space of its own: keep one")
    space: ParameterSpace
    if settings.parameter_file:
        space = open_file(Path(settings.parameter_file))
    elif settings.parameter_grid:
        space = Computed(parse_grid(settings.parameter_grid))
    else:
        space = Computed(Count(), settings.parameter_count)
    if space.total > MOST_PARAMETERS:
        raise SettingsError(f"{names[0]} gives too many parameters; at most {MOST_PARAMETERS} can be told apart")
    return space


class Computed:
    """A space whose parameters are computed from their index: every chunk carries the same few numbers."""

    def __init__(self, space: Count | Grid, total: int | None = None) -> None:
        self._space = space
        self.total = space.total if isinstance(space, Grid) else int(total or 0)

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps([self._space.to_json(), self.total]).encode()).hexdigest()

    def space_of(self, ranges: Ranges) -> Space:
        return self._space

    def describe(self) -> str:
        if isinstance(self._space, Grid):
            return "grid " + " x ".join(f"{a.name}={_shown(a.first)}:{_shown(a.last)}:{a.steps}" for a in self._space.axes)
        return f"count {self.total}"


def _shown(value: float) -> str:
    """The shortest text that `float` reads back as it was."""
    return repr(value).removesuffix(".0")


def described_grid(description: str) -> Grid | None:
    """The grid that `describe` described, None if it was none."""
    kind, _, axes = description.partition(" ")
    return parse_grid(axes.replace(" x ", ",")) if kind == "grid" else None


def parse_grid(text: str) -> Grid:
    """The grid that `a=0:4:1000,b=0:4:1000` names: name=first:last:steps, both ends included, first axis slowest.

    Raises:
        SettingsError: it names none; the sentence shows the part that is wrong.
    """
    axes: list[Axis] = []
    for part in text.split(","):
        axis = _axis(part.strip())
        if any(axis.name == other.name for other in axes):
            raise SettingsError(f"PARAMETER_GRID={text:.200} has two axes {axis.name!r:.200}: give each a name of its own")
        axes.append(axis)
    return Grid(tuple(axes))


def _axis(part: str) -> Axis:
    name, equals, rest = part.partition("=")
    fields = rest.split(":")
    name = name.strip()
    if name.split() != [name] or not equals or len(fields) != 3:
        raise SettingsError(
            f"PARAMETER_GRID: {part!r:.200} is not of the form name=first:last:steps; write for example a=0:4:1000"
        )
    first, last = (_finite(end, part) for end in fields[:2])
    try:
        steps = int(fields[2])
    except ValueError:
        steps = 0
    if not 1 <= steps <= MOST_PARAMETERS:
        raise SettingsError(
            f"PARAMETER_GRID: {part!r:.200} has {fields[2]!r:.200} steps, not a whole number of at least 1, or too many"
        )
    if steps == 1 and first != last:
        raise SettingsError(f"PARAMETER_GRID: {part!r:.200} has one step for two ends; take 2 steps, or make the ends equal")
    if not math.isfinite((last - first) * steps):
        raise SettingsError(f"PARAMETER_GRID: {part!r:.200} has ends too far apart for floats in between: move them closer")
    return Axis(name, first, last, steps)


def _finite(text: str, part: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SettingsError(f"PARAMETER_GRID: {part!r:.200} has the end {text!r:.200}, not a number")
    return value


def open_file(path: Path) -> ParameterFile:
    """The parameters in `path`, every line checked.

    Raises:
        SettingsError: it cannot be read, or a line is malformed; the sentence names the line.
    """
    kinds = {".csv": CsvFile, ".jsonl": JsonLinesFile}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(f"PARAMETER_FILE={path} ends neither in .csv nor in .jsonl: rename it to what it holds")
    try:
        return kind(path)
    except OSError as error:
        raise SettingsError(f"PARAMETER_FILE={path} cannot be read: {error.strerror}; name a file that is there") from None


class ParameterFile:
    """A file of parameters in UTF-8, with or without a byte order mark. A subclass knows its format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._version = _version(file)
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            lines = _Lines(file, path)
            self._offsets = array("Q", self._scan(lines))
            self._offsets.append(lines.offset)
        if not self.total:
            raise SettingsError(f"PARAMETER_FILE={path} holds no parameter: give it at least one")

    @property
    def total(self) -> int:
        return len(self._offsets) - 1

    def space_of(self, ranges: Ranges) -> Listed:
        """The parameters of `ranges`, read from the file.

        Raises:
            SettingsError: the file has changed since it was checked, or is gone.
        """
        values: list[Any] = []
        try:
            with self.path.open("rb") as file:
                unchanged = _version(file) == self._version
                for start, stop in ranges if unchanged else ():
                    file.seek(self._offsets[start])
                    block = file.read(self._offsets[stop] - self._offsets[start])
                    values.extend(self._values(line.decode() for line in io.BytesIO(block)))
        except OSError as error:
            raise SettingsError(f"PARAMETER_FILE={self.path} cannot be read any more: {error.strerror}") from None
        if not unchanged:
            raise SettingsError(f"PARAMETER_FILE={self.path} was changed after it was checked: start again")
        return Listed(tuple(values))

    def describe(self) -> str:
        return f"file {self.path.name}, {self.total} parameters"

    def _scan(self, lines: _Lines) -> Iterator[int]:
        """Check every line; yield the offset at which each parameter begins."""
        raise NotImplementedError

    def _values(self, lines: Iterable[str]) -> Iterator[Any]:
        """The parameters in `lines`, which were checked."""
        raise NotImplementedError


class CsvFile(ParameterFile):
    """The first line names the columns; a parameter is a dict of strings, as `csv.DictReader` gives it.

    Two differences make a slip visible: a row that is shorter or longer than the header, and a quote that is not closed or
    is followed by text, are malformed. Blank lines are skipped, as there.
    """

    def _scan(self, lines: _Lines) -> Iterator[int]:
        rows = csv.reader(lines, strict=True)
        first = 1
        try:
            header = next(rows, None)
            if header is None:
                return
            self._columns = _header(header, lines)
            width = len(header)
            while True:
                offset, first = lines.offset, lines.number + 1
                row = next(rows, None)
                if row is None:
                    return
                if len(row) == width:
                    yield offset
                elif row:
                    lines.malformed(first, f"has {len(row)} fields, the header has {width}: quote what holds a comma")
        except csv.Error as error:
            lines.malformed(first, f"is not CSV: {error}")

    def _values(self, lines: Iterable[str]) -> Iterator[dict[str, str]]:
        return (dict(zip(self._columns, row, strict=True)) for row in csv.reader(lines, strict=True) if row)


def _header(columns: list[str], lines: _Lines) -> list[str]:
    names = [name.strip() for name in columns]
    if not names:
        lines.malformed(1, "is blank: it must name the columns")
    if "" in names:
        lines.malformed(1, f"gives column {names.index('') + 1} no name: it must name every column")
    if repeated := [name for name in columns if columns.count(name) > 1]:
        lines.malformed(1, f"names the column {repeated[0]!r:.200} twice: give each a name of its own")
    if all(map(_is_number, names)):
        lines.malformed(1, "holds numbers only: it must name the columns")
    return columns


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class JsonLinesFile(ParameterFile):
    """A parameter is the decoded value of one line, whatever JSON can hold."""

    def _scan(self, lines: _Lines) -> Iterator[int]:
        offset = lines.offset
        for line in lines:
            try:
                strict_json.decode(line)
            except ValueError as error:
                blank = "" if line.strip() else " (it is blank)"
                lines.malformed(lines.number, f"is not JSON{blank}: {error}")
            yield offset
            offset = lines.offset

    def _values(self, lines: Iterable[str]) -> Iterator[Any]:
        return map(strict_json.decode, lines)


class _Lines:
    """The lines of a file as text.

    Attributes:
        number: lines given so far.
        offset: bytes given so far, where the next line begins.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.number = 0
        self.offset = len(BYTE_ORDER_MARK) if file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK else 0
        file.seek(self.offset)

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            self.offset += len(line)
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                self.malformed(self.number, f"is not UTF-8: {error.reason} at byte {error.start + 1} of the line")

    def malformed(self, line: int, reason: str) -> NoReturn:
        raise SettingsError(f"PARAMETER_FILE={self._path}: line {line} {reason}")


def _version(file: BinaryIO) -> Sequence[int]:
    """What changes when the file does."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino
