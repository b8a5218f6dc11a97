"""A run on a Kind cluster that loses a part of itself on the way, and every parameter accounted for at its end.

  scripts/demo                                    Redis, 10,000 parameters, a worker killed
  scripts/demo --backend rabbitmq --fault node
  scripts/demo --matrix --scale small             each broker with each fault, as a table

From nothing: makes the cluster and the image if they are not there, installs the chart into a namespace of its own, which
enforces the Pod Security level `restricted`, shows the run live, kills at 30 %, downloads the results, counts them, and removes
what it installed. What a fault is:

  worker  SIGKILL to a worker's container, the one with the most chunks in hand
  node    docker kill of a node that carries workers, neither broker nor ledger; it is started again at the end
  broker  SIGKILL to the broker, and its pod deleted; its volume stays
  ledger  the same to the ledger
  none    nothing

Exit status: 0 nothing is missing, 1 something is, or the demonstration could not be carried out, 130 interrupted.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.faults import FAULTS, Fault
from scripts.forward import Forward
from scripts.kube import Place
from scripts.reach import ledger
from scripts.release import Release
from scripts.text import count, duration, rate, table
from scripts.watch import LedgerAway, Watch, fetch
from worker.errors import TtgError
from worker.program import exit_status

REPOSITORY = Path(__file__).resolve().parent.parent
BACKENDS = ("redis", "rabbitmq")
KILL_AT = 0.3
LOOK_SECONDS = 0.1
AWAY_SECONDS = 3.0
"""A ledger that does not answer for so long gets a new port-forward: the old one may hang."""
STUCK_SECONDS = 180.0
"""Without a new outcome for so long, the demonstration gives up."""
REPLACED_SECONDS = 60.0
"""The longest wait for a replacement that is not ready when the run is complete."""
TABLE_WIDTH = 120
NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels:
    app.kubernetes.io/part-of: ttg
    pod-security.kubernetes.io/enforce: restricted
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """So many parameters in chunks of a fifth of a second or less, each parameter a wait of `seconds`."""

    parameters: int
    chunks: int
    seconds: float

    @property
    def chunk_size(self) -> int:
        return self.parameters // self.chunks


SCALES = {"small": Scale(1_000, 100, 0.02), "medium": Scale(10_000, 100, 0.002), "large": Scale(100_000, 1_000, 0.0002)}


class NotPrepared(TtgError):
    """There is no cluster, or no image in it."""


class Stuck(TtgError):
    """The run does not go on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one run. Counts of chunks and parameters are from the downloaded results; seconds are seconds.

    Attributes:
        chunks: those with all their parameters.
        missing: parameters without a value.
        twice: parameters with more than one.
        seconds: from the first outcome to the last new one.
        recomputed: values computed for parameters that had one.
        redelivered, recovered, replaced: see `Fault`; None if there was none.
    """

    backend: str
    scale: str
    fault: str
    chunks: int
    missing: int
    twice: int
    seconds: float
    recomputed: int
    redelivered: float | None
    recovered: float | None
    replaced: float | None

    @property
    def is_whole(self) -> bool:
        return self.missing == self.twice == 0

    def cells(self) -> dict[str, str]:
        """Its row of a table, by column."""
        scale = SCALES[self.scale]
        return {
            "broker": self.backend,
            "fault": self.fault,
            "chunks": f"{count(self.chunks)}/{count(scale.chunks)}",
            "seconds": f"{self.seconds:.1f}",
            "parameters/s": rate((scale.parameters - self.missing) / self.seconds),
            "missing": count(self.missing),
            "recomputed": count(self.recomputed),
            "redelivered": _after(self.redelivered),
            "recovered": _after(self.recovered),
            "replaced": _after(self.replaced),
        }


def demonstrate(backend: str, scale_name: str, fault_name: str, context: str, *, keep: bool) -> Verdict:
    """One run with one fault."""
    scale = SCALES[scale_name]
    place = Place(context, f"ttg-demo-{backend}-{fault_name}")
    with Watch() as view, installed(place, backend, scale, view, keep=keep) as release, ledger(release) as forward:
        fault = Fault(fault_name, release, view.say)
        try:
            status = follow(forward, view, fault, release)
            if fault.struck:
                settle(forward, view, fault)
            view.close()
            values = download(forward)
        finally:
            fault.mend()
    return Verdict(
        backend=backend,
        scale=scale_name,
        fault=fault_name,
        chunks=_whole_chunks(values, scale),
        missing=scale.parameters - len(values),
        twice=sum(times > 1 for times in values.values()),
        seconds=status["seconds"],
        recomputed=status["recomputed"],
        redelivered=fault.redelivered,
        recovered=fault.recovered,
        replaced=fault.replaced,
    )


@contextmanager
def installed(place: Place, backend: str, scale: Scale, view: Watch, *, keep: bool) -> Iterator[Release]:
    """The chart in a namespace of its own, which is removed afterwards."""
    place.kubectl("delete", "namespace", place.namespace, "--ignore-not-found")
    place.kubectl("apply", "--filename=-", given=NAMESPACE.format(name=place.namespace))
    view.say(f"helm install ttg charts/ttg -f values-{backend}.yaml -n {place.namespace}")
    values = {
        "run.task": "examples.sleep:wait",
        "run.parameters.count": scale.parameters,
        "run.chunkSize": scale.chunk_size,
        "worker.spread": "hard",  # a worker on each node, so that there is one to lose
    }
    chart = str(REPOSITORY / "charts/ttg")
    settings = [
        f"--values={REPOSITORY / f'values-{backend}.yaml'}",
        f"--set-string=worker.extraEnv.SLEEP_SECONDS={scale.seconds}",
        *(f"--set={name}={value}" for name, value in values.items()),
    ]
    try:
        # The workers last: a ledger that is slow to start would see a run that is over, and nothing to kill.
        place.helm("install", "ttg", chart, *settings, "--set=worker.replicas=0", "--wait", "--timeout=180s")
        view.say("broker and ledger are ready; the workers start")
        place.helm("upgrade", "ttg", chart, *settings)
        yield Release(place, "ttg")
    finally:
        if keep:
            view.say(f"left as it is: helm uninstall ttg -n {place.namespace} && kubectl delete namespace {place.namespace}")
        else:
            view.say(f"removing namespace {place.namespace} and all that is in it")
            place.helm("uninstall", "ttg", "--ignore-not-found")
            place.kubectl("delete", "namespace", place.namespace, "--wait=false")


def follow(forward: Forward, view: Watch, fault: Fault, release: Release) -> dict[str, Any]:
    """Show the run until it is complete, and kill on the way. Returns its last status.

    Raises:
        Stuck: nothing moved for `STUCK_SECONDS`.
    """
    answered = moved = time.monotonic()
    outcomes = 0
    away = False
    while True:
        forward.sleep(LOOK_SECONDS)
        now = time.monotonic()
        if now - moved > STUCK_SECONDS:
            pods = ", ".join(f"{pod.name} {pod.phase}{'' if pod.is_ready else ', not ready'}" for pod in release.pods())
            raise Stuck(f"nothing moved for {STUCK_SECONDS:.0f} s; the pods are {pods}")
        if fault.struck:
            fault.look_at_pods()
        try:
            status = fetch(forward.url)
        except LedgerAway:
            if fault.struck:
                fault.look(None, forward.url)
            if now - answered > AWAY_SECONDS:
                forward.renew()
                answered = now
            if outcomes and not away:
                view.say("the ledger does not answer; the workers go on")
            away = True
            continue
        if outcomes and away:
            view.say("the ledger answers")
        answered, away = now, False
        view.update(status)
        if status["done"] + status["dead"] != outcomes:
            outcomes, moved = status["done"] + status["dead"], now
        if fault.struck:
            fault.look(status, forward.url)
        elif fault.kind != "none" and status["done"] >= KILL_AT * status["total"]:
            fault.strike(status)
        if status["state"] == "complete":
            return status


def settle(forward: Forward, view: Watch, fault: Fault) -> None:
    """Wait for what is still to be seen of a fault when the run is complete."""
    deadline = time.monotonic() + REPLACED_SECONDS
    while not fault.over and time.monotonic() < deadline:
        forward.sleep(LOOK_SECONDS)
        fault.look_at_pods()
        try:
            fault.look(fetch(forward.url), forward.url)
        except LedgerAway:
            continue
    if not fault.over:
        view.say(f"what was killed is not back {duration(REPLACED_SECONDS)} after the end of the run")


def download(forward: Forward) -> Counter[int]:
    """How often each parameter is in the ledger's results."""
    with urllib.request.urlopen(f"{forward.url}/results.csv", timeout=60) as answer:  # noqa: S310  # our own forward's
        lines = (line.decode() for line in answer)
        return Counter(int(row["parameter"]) for row in csv.DictReader(lines))


def prepare(cluster: str) -> None:
    """The cluster, and the image on its nodes; both scripts leave alone what is there, and say what is missing.

    Raises:
        NotPrepared: one of them failed.
    """
    for command in (["scripts/cluster-up"], ["scripts/image-up", "--if-absent"]):
        if subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "CLUSTER": cluster}).returncode:
            raise NotPrepared(f"{' '.join(command)} did not succeed; what it said is above")


def show(verdicts: Sequence[Verdict]) -> None:
    """The table of one run or many; a narrow terminal wraps it rather than losing columns."""
    console = Console(highlight=False)
    console.width = max(console.width, TABLE_WIDTH)
    shown = table(list(verdicts[0].cells()), names=2)
    for verdict in verdicts:
        shown.add_row(*verdict.cells().values(), style="" if verdict.is_whole else "bold red")
    console.print(shown)


def _whole_chunks(values: Counter[int], scale: Scale) -> int:
    filled = Counter(index // scale.chunk_size for index in values)
    return sum(found == scale.chunk_size for found in filled.values())


def _after(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=BACKENDS, default="redis", help="the broker (default: redis)")
    parser.add_argument("--scale", choices=SCALES, default="medium", help="1,000, 10,000 or 100,000 parameters (default: medium)")
    parser.add_argument("--fault", choices=FAULTS, default="worker", help="what is killed at 30 %% (default: worker)")
    parser.add_argument("--matrix", action="store_true", help="each broker with each fault, one after the other")
    parser.add_argument("--cluster", default="ttg", metavar="NAME", help="name of the Kind cluster (default: ttg)")
    parser.add_argument("--keep", action="store_true", help="leave the release and its namespace in the cluster")
    chosen = parser.parse_args(argv)
    console = Console(highlight=False)
    prepare(chosen.cluster)
    plan = product(BACKENDS, FAULTS) if chosen.matrix else [(chosen.backend, chosen.fault)]
    verdicts = []
    for backend, fault in plan:
        console.print(f"\n{backend}, {chosen.scale}, fault {fault}", style="bold")
        verdicts.append(demonstrate(backend, chosen.scale, fault, f"kind-{chosen.cluster}", keep=chosen.keep))
    console.print()
    show(verdicts)
    whole = sum(verdict.is_whole for verdict in verdicts)
    console.print(
        f"{whole} of {len(verdicts)} complete, missing {count(sum(verdict.missing for verdict in verdicts))}", style="bold"
    )
    return 0 if whole == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(exit_status(main))
