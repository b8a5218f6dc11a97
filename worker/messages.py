"""The two messages, encoded and decoded: a `Chunk` on its way to a worker, a `Result` on its way to the ledger.

A chunk is one line of JSON. A result is a header, one line of JSON, and then one line a value, each the JSON text of that
value: JSON text never holds a raw newline, so the ledger stores the lines without parsing them.

Every message carries `schema`. A reader accepts its own and older ones, so two versions understand each other during an
upgrade as long as a new version adds keys and leaves the meaning of the old ones alone; a change that cannot do that raises
`SCHEMA`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from worker.errors import ForeignMessage, MalformedMessage
from worker.space import Ranges, Space, compress, expand, from_json, size

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Indices that travel as one message.

    Attributes:
        run: the run it belongs to.
        stamp: what must compute it (`worker.task.stamp`).
        space: how its indices become parameters.
        ranges: its indices; one range when seeded, several when some of it is tried again.
        attempt: the number of the try that comes next, from 1.
    """

    run: str
    stamp: str
    space: Space
    ranges: Ranges
    attempt: int = 1

    @property
    def name(self) -> str:
        """For people: its first and last index."""
        return f"{self.ranges[0][0]}-{self.ranges[-1][1] - 1}"

    def __len__(self) -> int:
        return size(self.ranges)

    def indices(self) -> list[int]:
        return expand(self.ranges)

    def part(self, ranges: Ranges, *, attempt: int | None = None) -> Chunk:
        """The chunk of only `ranges`, which must lie within this one."""
        space = self.space.subset(ranges, self.ranges)
        return replace(self, space=space, ranges=ranges, attempt=self.attempt if attempt is None else attempt)

    def encode(self) -> bytes:
        data = {
            "schema": SCHEMA,
            "run": self.run,
            "stamp": self.stamp,
            "space": self.space.to_json(),
            "ranges": self.ranges,
            "attempt": self.attempt,
        }
        return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def decode(cls, body: bytes, run: str) -> Chunk:
        """The chunk in `body`.

        Raises:
            ForeignMessage: it is of another run, or of a newer schema.
            MalformedMessage: it is no chunk.
        """
        data = _header(body, run)
        chunk = cls(
            run=run,
            stamp=_typed(data, "stamp", str),
            space=from_json(data.get("space")),
            ranges=_ranges(data, "ranges"),
            attempt=_typed(data, "attempt", int),
        )
        if not chunk.ranges:
            raise MalformedMessage("the chunk has no index")
        if chunk.attempt < 1:
            raise MalformedMessage(f"the attempt is {chunk.attempt}, below 1")
        parameters = data["space"].get("parameters")
        if parameters is not None and len(parameters) != len(chunk):
            raise MalformedMessage(f"the chunk has {len(chunk)} indices and {len(parameters)} parameters")
        return chunk


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt: which index, why, and the number of the attempt, from 1."""

    index: int
    error: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of one chunk. Without any outcome it is a sign of life.

    Attributes:
        run, stamp: as in `Chunk`; the stamp is the one of the code that computed.
        worker, node: who computed it, and where.
        ranges: the indices that have a value.
        values: JSON text, one for each index of `ranges`, in order.
        dead: parameters that failed their last attempt.
        retried: failed attempts of parameters that are tried again.
        chunk: name of the chunk these outcomes are of; empty in a sign of life.
        computing: names of the chunks the worker has in hand at this moment, the ones in `chunk` excluded.
        state: what the worker is doing (`worker.state.State`).
        redelivered: another worker was lost with this chunk in hand, so some of it may have been computed before.
        seconds: time the task function took for these outcomes.
    """

    run: str
    stamp: str
    worker: str
    node: str
    ranges: Ranges = ()
    values: list[str] = field(default_factory=list)
    dead: list[Failure] = field(default_factory=list)
    retried: list[Failure] = field(default_factory=list)
    chunk: str = ""
    computing: list[str] = field(default_factory=list)
    state: str = "ready"
    redelivered: bool = False
    seconds: float = 0.0

    def encode(self) -> bytes:
        header = {
            "schema": SCHEMA,
            "run": self.run,
            "stamp": self.stamp,
            "worker": self.worker,
            "node": self.node,
            "ranges": self.ranges,
            "dead": [[failure.index, failure.error, failure.attempt] for failure in self.dead],
            "retried": [[failure.index, failure.error, failure.attempt] for failure in self.retried],
            "chunk": self.chunk,
            "computing": self.computing,
            "state": self.state,
            "redelivered": self.redelivered,
            "seconds": round(self.seconds, 6),
        }
        return "\n".join([json.dumps(header, separators=(",", ":")), *self.values]).encode()

    def encode_within(self, limit: int) -> list[bytes]:
        """As many messages as it takes for each to be at most `limit` bytes; a single value is never cut."""
        body = self.encode()
        count = len(self.values) + len(self.dead) + len(self.retried)
        if len(body) <= limit or count < 2:
            return [body]
        parts = self._outcomes(0, count // 2), self._outcomes(count // 2, count)
        return [message for part in parts for message in part.encode_within(limit)]

    def _outcomes(self, start: int, stop: int) -> Result:
        """Only some of the outcomes, counted over the values, then the dead, then the retried."""
        indices = expand(self.ranges)[start:stop]
        dead, retried = len(self.values), len(self.values) + len(self.dead)
        return replace(
            self,
            ranges=compress(indices),
            values=self.values[start:stop],
            dead=self.dead[max(start - dead, 0) : max(stop - dead, 0)],
            retried=self.retried[max(start - retried, 0) : max(stop - retried, 0)],
            seconds=self.seconds / 2,
        )

    @classmethod
    def decode(cls, body: bytes, run: str) -> Result:
        """The result in `body`.

        Raises:
            ForeignMessage: it is of another run, or of a newer schema.
            MalformedMessage: it is no result.
        """
        head, _, rest = body.partition(b"\n")
        data = _header(head, run)
        try:
            values = rest.decode().split("\n") if rest else []
        except UnicodeDecodeError as error:
            raise MalformedMessage(f"the values are not UTF-8: {error}") from error
        result = cls(
            run=run,
            stamp=_typed(data, "stamp", str),
            worker=_typed(data, "worker", str),
            node=_typed(data, "node", str),
            ranges=_ranges(data, "ranges"),
            values=values,
            dead=_failures(data, "dead"),
            retried=_failures(data, "retried"),
            chunk=_typed(data, "chunk", str),
            computing=[str(name) for name in _typed(data, "computing", list)],
            state=_typed(data, "state", str),
            redelivered=bool(data.get("redelivered")),
            seconds=float(_typed(data, "seconds", (int, float))),
        )
        if len(values) != size(result.ranges):
            raise MalformedMessage(f"the result has {size(result.ranges)} indices and {len(values)} values")
        return result


def _header(body: bytes, run: str) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the message is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise MalformedMessage(f"the message is a JSON {type(data).__name__}, not an object")
    schema = _typed(data, "schema", int)
    if schema > SCHEMA:
        raise ForeignMessage(f"the message has schema {schema}, newer than {SCHEMA}: upgrade this program")
    if _typed(data, "run", str) != run:
        raise ForeignMessage(f"the message is of run {data['run']!r:.200}, this is run {run!r}")
    return data


def _typed(data: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedMessage(f"the message has {key} {value!r:.200}")
    return value


def _ranges(data: dict[str, Any], key: str) -> Ranges:
    ranges = []
    floor = 0
    for item in _typed(data, key, list):
        match item:
            case [int(start), int(stop)] if floor <= start < stop:
                ranges.append((start, stop))
                floor = stop
            case _:
                raise MalformedMessage(f"the message has the index range {item!r:.200}")
    return tuple(ranges)


def _failures(data: dict[str, Any], key: str) -> list[Failure]:
    failures = []
    for item in _typed(data, key, list):
        match item:
            case [int(index), str(error), int(attempt)] if index >= 0:
                failures.append(Failure(index, error, attempt))
            case _:
                raise MalformedMessage(f"the message has the failure {item!r:.200}")
    return failures
