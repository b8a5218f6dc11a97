"""A schedule: which faults strike which program at which moment of a short run. The broker and a number say it all."""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.faults.points import points_of


class Kind(enum.StrEnum):
    """What is done to a program, to its connection, or to the broker. A fault that lasts is mended after `Fault.seconds`."""

    KILL = "killed"
    TERM = "terminated"
    FREEZE = "frozen"
    CUT = "connection cut"
    HOLD = "connection half-open"
    DELAY = "connection slow"
    LOSE_REPLY = "reply lost"
    CLOCK = "clock an hour off"
    NEXT_VERSION = "of a version with more keys"
    NEXT_SCHEMA = "of a version with another schema"
    DISK_FULL = "disk full"
    SECOND = "a second one"
    SECOND_ON_FILE = "a second one on the same file"
    WIPE = "killed, its data lost"
    MEMORY_FULL = "memory full"
    ROTATE = "credentials rotated"


BROKER = "broker"
SEED = "seed"
LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Moment:
    """So many seconds after the start; or, with a point, when `program` comes there for the `nth` time.

    Attributes:
        point: `module:Class.method` (`tests.faults.points`).
        after: when the method has returned, not when it is called.
    """

    seconds: float = 0.0
    program: str = ""
    point: str = ""
    after: bool = False
    nth: int = 1

    def __str__(self) -> str:
        if not self.point:
            return f"at {self.seconds:.2f} s"
        return f"{'after' if self.after else 'before'} call {self.nth} of {self.point.partition(':')[2]} in {self.program}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `target` is a program (`worker-1`, `child-1`: that worker's child process, `seed`, `ledger`) or the broker."""

    kind: Kind
    target: str
    moment: Moment
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Its row in a table: what was done to which kind of program."""
        return f"{self.target.partition('-')[0]}: {self.kind}"

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.target}: {self.kind}{lasting}, {self.moment}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One short run and its faults.

    Attributes:
        number: what it was drawn from.
        count: parameters.
        pace: seconds a call takes.
    """

    backend: str
    number: int
    faults: tuple[Fault, ...]
    count: int = 60
    chunk_size: int = 5
    workers: int = 2
    concurrency: int = 1
    prefetch: int = 2
    pace: float = 0.01

    @property
    def needs_repair(self) -> bool:
        """Whether messages may be lost or set aside for good, so that only the ledger's repair can complete the run.

        Every other run has to be complete without it: repair would hide a worker that loses what it had in hand.
        """
        return any(fault.kind in (Kind.WIPE, Kind.NEXT_SCHEMA) or fault.label == "ledger: a second one" for fault in self.faults)

    @property
    def forbids_duplicates(self) -> bool:
        """Whether each outcome has to reach the ledger exactly once: Redis refuses a late or repeated settlement, as long as
        nobody repairs. The ledger's own results are delivered again when it is what was struck."""
        touched = {fault.target for fault in self.faults} | {fault.moment.program for fault in self.faults}
        return self.backend == "redis" and not self.needs_repair and not touched & {LEDGER, BROKER}

    def __str__(self) -> str:
        run = (
            f"{self.count} parameters in chunks of {self.chunk_size}, {self.workers} workers of {self.concurrency}, "
            f"prefetch {self.prefetch}, {self.pace * 1000:.0f} ms a call"
        )
        return "\n".join([f"{self.backend} {self.number}: {run}", *(f"  {fault}" for fault in self.faults)])


FAULTS = (1, 1, 1, 1, 2, 2, 3, 4)
"""How many faults a schedule has, each as likely as the others."""

# What is drawn how often. A broker that restarts is rare because RabbitMQ takes seconds for it.
PROGRAM_FAULTS = {Kind.KILL: 16, Kind.TERM: 8, Kind.FREEZE: 10}
CHILD_FAULTS = {Kind.KILL: 6, Kind.TERM: 2, Kind.FREEZE: 3}
NETWORK_FAULTS = {Kind.CUT: 5, Kind.HOLD: 5, Kind.DELAY: 4, Kind.LOSE_REPLY: 6}
ODD_FAULTS = {Kind.CLOCK: 4, Kind.NEXT_VERSION: 2, Kind.NEXT_SCHEMA: 2}
BROKER_FAULTS = {Kind.KILL: 4, Kind.WIPE: 3, Kind.FREEZE: 3, Kind.MEMORY_FULL: 3, Kind.ROTATE: 3}
SEED_FAULTS = {Kind.SECOND: 3}
LEDGER_FAULTS = {Kind.SECOND: 3, Kind.SECOND_ON_FILE: 2, Kind.DISK_FULL: 5}

LASTS = {
    Kind.FREEZE: (0.1, 4.0),
    Kind.HOLD: (0.1, 5.0),
    Kind.DELAY: (0.3, 2.0),
    Kind.NEXT_SCHEMA: (0.2, 1.5),
    Kind.DISK_FULL: (0.2, 2.5),
    Kind.SECOND: (0.3, 2.0),
    Kind.SECOND_ON_FILE: (0.3, 2.0),
    Kind.MEMORY_FULL: (0.2, 2.0),
}
"""Shortest and longest duration, in seconds: below and above a trial's lease, heartbeat and time-outs."""

FROM_THE_START = (Kind.NEXT_VERSION, Kind.NEXT_SCHEMA)
LATEST = 1.2
"""Seconds after the start within which faults strike that are not bound to a point: a run without faults takes about as long."""
AT_A_POINT = 0.6
"""The share of faults that strike at a point of a program."""


def draw(backend: str, number: int) -> Schedule:
    """The schedule of that number."""
    dice = random.Random(f"{backend} {number}")
    schedule = Schedule(
        backend=backend,
        number=number,
        faults=(),
        count=dice.randint(30, 120),
        chunk_size=dice.randint(1, 10),
        workers=dice.randint(1, 3),
        concurrency=dice.choice((1, 1, 2)),
        prefetch=dice.randint(1, 3),
        pace=dice.choice((0.002, 0.01, 0.02)),
    )
    return replace(schedule, faults=tuple(_fault(dice, schedule) for _ in range(dice.choice(FAULTS))))


def _fault(dice: random.Random, schedule: Schedule) -> Fault:
    workers = [f"worker-{number}" for number in range(1, schedule.workers + 1)]
    programs = [*workers, SEED, LEDGER]
    targets: list[tuple[dict[Kind, int], Sequence[str]]] = [
        (PROGRAM_FAULTS, programs),
        (CHILD_FAULTS, [worker.replace("worker", "child") for worker in workers]),
        (NETWORK_FAULTS, programs),
        (ODD_FAULTS, programs),
        (BROKER_FAULTS, [BROKER]),
        (SEED_FAULTS, [SEED]),
        (LEDGER_FAULTS, [LEDGER]),
    ]
    weighted = [(kind, names, weight) for kinds, names in targets for kind, weight in kinds.items()]
    ((kind, names, _),) = dice.choices(weighted, [weight for _, _, weight in weighted])
    target = dice.choice(names)
    seconds = round(dice.uniform(*LASTS[kind]), 2) if kind in LASTS else 0.0
    return Fault(kind, target, _moment(dice, schedule, kind, target, programs), seconds)


def _moment(dice: random.Random, schedule: Schedule, kind: Kind, target: str, programs: Sequence[str]) -> Moment:
    if kind in FROM_THE_START:
        return Moment()
    if dice.random() > AT_A_POINT:
        return Moment(round(dice.uniform(0.0, LATEST), 2))
    program = dice.choice(programs) if dice.random() < 0.2 or target not in programs else target
    point = dice.choice(points_of(program, schedule.backend))
    return Moment(program=program, point=point, after=dice.random() < 0.5, nth=int(dice.expovariate(0.7)) + 1)
