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

from worker import strict_json
from worker.errors import ForeignMessage, MalformedMessage
from worker.space import MOST_PARAMETERS, Listed, Ranges, Space, compress, expand, from_json, size

SCHEMA = 1
LARGEST_CHUNK = 1_000_000
"""Indices of a chunk. A few bytes can name any number of them, and a worker keeps some hundred bytes for each."""
MOST_SECONDS = 1e9
"""Of one result: some thirty years, so that their sum is a number whatever arrives."""


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
        if len(chunk) > LARGEST_CHUNK:
            raise MalformedMessage(f"the chunk has {len(chunk)} indices, more than {LARGEST_CHUNK}")
        if not (_is_index(chunk.attempt) and chunk.attempt):
            raise MalformedMessage(f"the message has attempt {chunk.attempt!r:.200}")
        if isinstance(chunk.space, Listed) and len(chunk.space.values) != len(chunk):
            raise MalformedMessage(f"the chunk has {len(chunk)} indices and {len(chunk.space.values)} parameters")
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
            seconds=_seconds(data, "seconds"),
        )
        if len(values) != size(result.ranges):
            raise MalformedMessage(f"the result has {size(result.ranges)} indices and {len(values)} values")
        return result


def _header(body: bytes, run: str) -> dict[str, Any]:
    try:
        data = strict_json.decode(body.decode())
    except ValueError as error:
        raise MalformedMessage(f"the message is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise MalformedMessage(f"the message is a JSON {type(data).__name__}, not an object")
    schema = _typed(data, "schema", int)
    if schema > SCHEMA:
        raise ForeignMessage(f"the message has schema {schema!r:.200}, newer than {SCHEMA}: upgrade this program")
    if _typed(data, "run", str) != run:
        raise ForeignMessage(f"the message is of run {data['run']!r:.200}, this is run {run!r}")
    return data


def _typed(data: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedMessage(f"the message has {key} {value!r:.200}")
    if isinstance(value, str) and value.encode(errors="ignore").decode() != value:  # half a surrogate
        raise MalformedMessage(f"the message has {key} {value!r:.200}, which is no text that can be stored")
    return value


def _seconds(data: dict[str, Any], key: str) -> float:
    seconds = _typed(data, key, (int, float))
    if not 0 <= seconds <= MOST_SECONDS:
        raise MalformedMessage(f"the message has {key} {seconds!r:.200}")
    return float(seconds)


def _ranges(data: dict[str, Any], key: str) -> Ranges:
    ranges = []
    floor = 0
    for item in _typed(data, key, list):
        match item:
            case [start, stop] if _is_index(start) and _is_index(stop) and floor <= start < stop:
                ranges.append((start, stop))
                floor = stop
            case _:
                raise MalformedMessage(f"the message has the index range {item!r:.200}")
    return tuple(ranges)


def _failures(data: dict[str, Any], key: str) -> list[Failure]:
    failures = []
    for item in _typed(data, key, list):
        match item:
            case [index, str(error), attempt] if _is_index(index) and _is_index(attempt):
                failures.append(Failure(index, error, attempt))
            case _:
                raise MalformedMessage(f"the message has the failure {item!r:.200}")
    return failures


def _is_index(data: Any) -> bool:
    """Whether the ledger can keep it as the number of a parameter, or of an attempt; true and false are none."""
    return type(data) is int and 0 <= data <= MOST_PARAMETERS
