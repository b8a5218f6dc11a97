"""`python -m tests.faults.program MODULE [argument...]`: a program of TTG, with what a schedule adds to it.

The variable `FAULTS_PLAN` says in JSON what that is (`Plan`). Nothing of the program itself is left out: `MODULE.main` runs as
`python -m MODULE` runs it.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.faults.points import Stop, stop_at

PLAN = "FAULTS_PLAN"
HEARTBEAT_SECONDS = 2
SOCKET_SECONDS = 2.0
"""In place of the 10 s and 5 s of the brokers' modules, so that a short run sees what a half-open connection leads to."""
WINDOW = 4
"""Chunks that a seed publishes together, in place of 2,000: a short run too has several windows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a schedule adds to one program.

    Attributes:
        skew: file with a float64, the seconds that `time.time` is off; empty: it is right.
        stops: where it stops itself.
        address: whom it then tells.
        extra_keys: its messages have a key that a later version may add.
        schema: how much the schema of its messages is above ours.
        defect: the planted defect (`tests.faults.defects`); empty: none.
    """

    skew: str = ""
    stops: tuple[Stop, ...] = ()
    address: str = ""
    extra_keys: bool = False
    schema: int = 0
    defect: str = ""

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Plan:
        data = json.loads(text)
        return cls(**data | {"stops": tuple(Stop(**stop) for stop in data["stops"])})


def main() -> int:
    module, *arguments = sys.argv[1:]
    plan = Plan.decode(os.environ[PLAN])
    if plan.skew:
        time.time = skewed(Path(plan.skew))  # before anything binds the right one
    prepare(plan)
    program = import_module(f"{module}.__main__" if module == "worker" else module)
    sys.argv = [module, *arguments]
    status = import_module("worker.program").exit_status(program.main)
    return int(status)


def skewed(file: Path) -> Callable[[], float]:
    """A `time.time` that is off by what `file` says at that moment."""
    with open(file, "rb") as opened:
        memory = mmap.mmap(opened.fileno(), 8, prot=mmap.PROT_READ)
    right = time.time
    return lambda: right() + float(struct.unpack("d", memory)[0])


def prepare(plan: Plan) -> None:
    """Change the modules of this process; they are imported only here, after the clock was skewed."""
    import scripts.seed
    import worker.brokers.amqp
    import worker.brokers.redis_client
    import worker.messages
    from tests.faults import defects

    scripts.seed.WINDOW = WINDOW
    worker.brokers.amqp.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
    worker.brokers.redis_client.SOCKET_SECONDS = SOCKET_SECONDS
    worker.messages.SCHEMA += plan.schema
    if plan.extra_keys:
        vars(worker.messages)["json"] = LaterVersion
    if plan.defect:
        defects.plant(plan.defect)
    for stop in plan.stops:
        stop_at(stop, plan.address)


class LaterVersion:
    """In place of the module `json`: what it encodes has one key more."""

    @staticmethod
    def dumps(data: dict[str, Any], **options: Any) -> str:
        return json.dumps(data | {"added_by_a_later_version": [1, {"two": 3}]}, **options)


if __name__ == "__main__":
    sys.exit(main())
