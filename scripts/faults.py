"""What the fault demonstration kills, and what becomes of it. Nobody is asked to stop: a graceful delete would prove shutdown."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from scripts.kube import CommandFailed, run
from scripts.release import NotThere, Pod, Release
from scripts.text import duration

FAULTS = ("none", "worker", "node", "broker", "ledger")
SETTLE_SECONDS = 0.4
"""After a kill, until what was under way to the ledger has arrived there: only then is it known what was lost."""
PODS_SECONDS = 1.0
"""Between two looks at the pods, each of which starts a kubectl."""
RETURN_SECONDS = 120.0
"""The longest wait for a node that was started again."""

Status = Mapping[str, Any]
Say = Callable[[str], None]


class Fault:
    """One kill, from the moment it is struck: says what happens, and measures it. Times are seconds after the kill.

    Args:
        kind: worker, node, broker or ledger.
        release: whose.
        say: told what happens, a sentence at a time.

    Attributes:
        redelivered: until every chunk that was lost was in another worker's hand or in the ledger, as far as the ledger heard.
        recovered: until the lost chunks were in the ledger; after the loss of broker or ledger, until the next new value was.
        replaced: until another pod or container of the same work was ready; None for a node, whose pods wait for it.
    """

    def __init__(self, kind: str, release: Release, say: Say) -> None:
        self.kind = kind
        self._release = release
        self._say = say
        self._at = 0.0
        self._victims: list[Pod] = []
        self._node = ""
        self._lost: list[str] | None = None
        self._done = 0
        self._noticed = False
        self._looked = 0.0
        self.redelivered: float | None = None
        self.recovered: float | None = None
        self.replaced: float | None = None

    @property
    def struck(self) -> bool:
        return self._at > 0

    @property
    def over(self) -> bool:
        """Whether there is nothing more to see."""
        return self.recovered is not None and (self.replaced is not None or self.kind == "node")

    def strike(self, status: Status) -> None:
        """Kill.

        Raises:
            NotThere: there is no victim.
            CommandFailed: it survived.
        """
        pods = self._release.pods()
        if self.kind == "node":
            self._node = _expendable(pods)
            self._victims = [pod for pod in pods if pod.node == self._node and pod.component == "worker"]
        else:
            self._victims = [_victim(pods, self.kind, status)]
        share = f"{status['done'] / status['total']:.0%}"
        self._done = status["done"]
        self._at = self._looked = time.monotonic()
        if self.kind == "node":
            run(["docker", "kill", self._node])
            workers = ", ".join(pod.name for pod in self._victims)
            self._say(f"killed at {share}: node {self._node}, with {workers} on it (docker kill)")
            return
        (pod,) = self._victims
        run(
            ["docker", "exec", pod.node, "ctr", "--namespace=k8s.io", "tasks", "kill", "--all", "--signal=SIGKILL", pod.container]
        )
        self._say(f"killed at {share}: {pod.component} {pod.name} on {pod.node} (SIGKILL)")
        if self.kind != "worker":  # the pod goes too, not its container alone
            self._release.place.kubectl("delete", "pod", pod.name, "--grace-period=0", "--force", "--wait=false")

    def look(self, status: Status | None, url: str) -> None:
        """Take notice of a status from after the kill, None while the ledger does not answer; `url` is the ledger's."""
        now = self._since()
        if self.kind in ("worker", "node"):
            if status is not None:
                self._follow_chunks(status, url, now)
            return
        if status is None or status["problem"]:
            self._noticed = True
        if status is None or self.recovered is not None:
            return
        if status["problem"] or not self._noticed:  # what arrived just before the kill is still being counted
            self._done = status["done"]
        elif status["done"] > self._done:
            self.recovered = now
            self._say(f"the run goes on, {duration(now)} after the kill")

    def look_at_pods(self) -> None:
        """See whether the victim was replaced, once a second at most."""
        if self.replaced is not None or self.kind == "node" or time.monotonic() - self._looked < PODS_SECONDS:
            return
        self._looked = time.monotonic()
        (victim,) = self._victims
        for pod in self._release.pods(victim.component):
            if pod.name == victim.name and pod.is_ready and (pod.uid, pod.restarts) != (victim.uid, victim.restarts):
                self.replaced = self._since()
                what = "in a new pod" if pod.uid != victim.uid else "in a new container"
                self._say(f"replaced: {pod.component} {pod.name} is ready again {what}, {duration(self.replaced)} after the kill")

    def mend(self) -> None:
        """Start a killed node again, and wait until it takes part."""
        if not self._node:
            return
        self._say(f"starting node {self._node} again")
        run(["docker", "start", self._node])
        deadline = time.monotonic() + RETURN_SECONDS
        while time.monotonic() < deadline:  # the API's word for it may be older than the kill, so its kubelet is asked
            with contextlib.suppress(CommandFailed):
                self._release.place.kubectl("get", "--raw", f"/api/v1/nodes/{self._node}/proxy/healthz")
                self._release.place.kubectl("wait", "--for=condition=Ready", f"node/{self._node}", f"--timeout={RETURN_SECONDS}s")
                self._node = ""
                return
            time.sleep(0.5)
        raise NotThere(f"node {self._node} was started and did not come back: docker logs {self._node}")

    def _follow_chunks(self, status: Status, url: str, now: float) -> None:
        names = {pod.name for pod in self._victims}
        if self._lost is None:
            if now < SETTLE_SECONDS:
                return
            self._lost = [chunk for worker in status["workers"] if worker["name"] in names for chunk in worker["computing"]]
            self._say(f"lost with it: {_chunks(self._lost)}")
        if self.recovered is not None:
            return
        missing = [chunk for chunk in self._lost if not settled(url, chunk)]
        # Not in a victim's hand: a new container's worker has the name of the old one, whose last words may still stand there.
        held = {chunk for worker in status["workers"] if worker["name"] not in names for chunk in worker["computing"]}
        if self.redelivered is None and held.issuperset(missing):
            self.redelivered = now
            self._say(f"redelivered: {_chunks(self._lost)}, {duration(now)} after the kill")
        if not missing:
            self.recovered = now
            self._say(f"recovered: {_chunks(self._lost)} in the ledger, {duration(now)} after the kill")

    def _since(self) -> float:
        return time.monotonic() - self._at


def settled(url: str, chunk: str) -> bool:
    """Whether each parameter of a chunk has its outcome; False while the ledger at `url` does not answer."""
    first, last = map(int, chunk.split("-"))
    try:
        with urllib.request.urlopen(f"{url}/settled?first={first}&last={last}", timeout=5) as answer:  # noqa: S310  # our forward's
            return int(json.load(answer)["settled"]) == last - first + 1
    except OSError:
        return False


def _victim(pods: list[Pod], component: str, status: Status) -> Pod:
    """The pod to kill; of the workers, the one with the most in hand."""
    held = {worker["name"]: len(worker["computing"]) for worker in status["workers"]}
    found = [pod for pod in pods if pod.component == component and pod.container]
    if not found:
        raise NotThere(f"there is no {component} to kill")
    return max(found, key=lambda pod: held.get(pod.name, 0))


def _expendable(pods: list[Pod]) -> str:
    """A node that carries workers, and neither broker nor ledger: their volumes are on their nodes."""
    tied = {pod.node for pod in pods if pod.component in ("broker", "ledger")}
    nodes = sorted({pod.node for pod in pods if pod.component == "worker"} - tied - {""})
    if not nodes:
        raise NotThere("every node with a worker carries the broker or the ledger too: give the cluster one node more")
    return nodes[0]


def _chunks(names: list[str]) -> str:
    return f"chunk{'s' if len(names) != 1 else ''} {', '.join(names)}" if names else "nothing"
