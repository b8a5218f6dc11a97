"""What is done to a cluster while a run is under way, and how it is undone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

from scripts.kube import CommandFailed, Place, run
from scripts.release import NotThere, Pod
from tests.e2e.cluster import CONTEXT
from tests.faults.cluster import task
from tests.faults.cluster.ground import WORKERS, Ground

SILENCE_SECONDS = 35.0
"""Longer than the lease (10 s) and than RabbitMQ waits for a heartbeat (up to 30 s at 10 s), and shorter than Kubernetes needs to
give a node up (50 s): TTG is to find out by itself."""
RETURN_SECONDS = 120.0
"""The longest wait for a node that was started again."""

Strike = Callable[[Ground, Pod], AbstractContextManager[None]]
"""A fault of a pod, or of the node that it is on. Injected when it is entered, undone when it is left, also after an error or
Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        what: what it is, for the reader of the page.
        component: whose pod it is.
        lasts: seconds from the strike until it is undone.
        calls: indices whose calls are the strike; empty: it comes at `STRIKE_AT`.
        workers: pods of the run.
        environment: variables that its workers have.
        values: Helm's arguments for its run.
    """

    name: str
    what: str
    strike: Strike
    component: str = "worker"
    lasts: float = 0.0
    calls: frozenset[int] = frozenset()
    workers: int = WORKERS
    environment: Mapping[str, str] = field(default_factory=dict)
    values: tuple[str, ...] = ()


@contextmanager
def kill_pod(ground: Ground, pod: Pod) -> Iterator[None]:
    """SIGKILL to the container, so that nothing ends in order; the pod is deleted too."""
    kill = ("tasks", "kill", "--all", "--signal=SIGKILL", pod.container)
    run(["docker", "exec", pod.node, "ctr", "--namespace=k8s.io", *kill])
    ground.place.kubectl("delete", "pod", pod.name, "--grace-period=0", "--force", "--wait=false")
    yield


def node_is(verb: str, undo: str) -> Strike:
    """What the command `docker verb` does to the node, and `docker undo` afterwards."""

    @contextmanager
    def strike(_ground: Ground, pod: Pod) -> Iterator[None]:
        try:
            run(["docker", verb, pod.node])
            yield
        finally:
            run(["docker", undo, pod.node])
            await_node(pod.node)

    return strike


@contextmanager
def cut_off_node(_ground: Ground, pod: Pod) -> Iterator[None]:
    """Drop every packet that comes to the node or leaves it, its pods' too; connections stall."""
    rules = (("PREROUTING", "--in-interface"), ("POSTROUTING", "--out-interface"))

    def change(action: str) -> None:
        for chain, interface in rules:
            rule = (action, chain, interface, "eth0", "--jump", "DROP")
            run(["docker", "exec", pod.node, "iptables", "--wait", "--table", "mangle", *rule])

    try:
        change("--insert")
        yield
    finally:
        change("--delete")
        await_node(pod.node)


@contextmanager
def drain_node(_ground: Ground, pod: Pod) -> Iterator[None]:
    cluster = Place(CONTEXT)
    drain = cluster.command("drain", pod.node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={RETURN_SECONDS}s")
    try:
        with subprocess.Popen(drain, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            yield  # it waits for each pod to be gone
            _, said = process.communicate()
        if process.returncode:
            raise CommandFailed(f"node {pod.node} could not be drained: {said.strip()}")
    finally:
        cluster.kubectl("uncordon", pod.node)


@contextmanager
def upgrade(ground: Ground, _pod: Pod) -> Iterator[None]:
    """Another pod template for the workers, which Kubernetes replaces one after the other."""
    ground.upgrade("--set-string=worker.podAnnotations.upgraded=yes")
    yield
    ground.place.kubectl("rollout", "status", "deployment/ttg-worker", "--timeout=120s")


@contextmanager
def eat_memory(ground: Ground, _pod: Pod) -> Iterator[None]:
    """The task does it by itself.

    Raises:
        NotThere: it took no worker down.
    """
    yield
    if not any(pod.restarts for pod in ground.pods("worker")):
        raise NotThere("no worker was ended for want of memory: the cluster does not impose limits")


def await_node(name: str) -> None:
    """Wait until a node takes part again.

    Raises:
        NotThere: it does not.
    """
    cluster = Place(CONTEXT)
    deadline = time.monotonic() + RETURN_SECONDS
    while time.monotonic() < deadline:  # the API's word for it may be older than the fault, so its kubelet is asked
        with suppress(CommandFailed):
            cluster.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/healthz")
            cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", f"--timeout={RETURN_SECONDS}s")
            return
        time.sleep(0.5)
    raise NotThere(f"node {name} did not come back: docker logs {name}")


FAULTS = (
    Fault("worker", "SIGKILL to a worker, and its pod deleted", kill_pod),
    Fault("broker", "the same to the broker; its volume stays", kill_pod, component="broker"),
    Fault("ledger", "the same to the ledger; its volume stays", kill_pod, component="ledger"),
    Fault(
        "node", "`docker kill` of a node with a worker; started again at the end", node_is("kill", "start"), lasts=SILENCE_SECONDS
    ),
    Fault(
        "pause",
        f"`docker pause` of a node with a worker for {SILENCE_SECONDS:.0f} s",
        node_is("pause", "unpause"),
        lasts=SILENCE_SECONDS,
    ),
    Fault(
        "partition",
        f"every packet to and from a node with a worker dropped for {SILENCE_SECONDS:.0f} s: its connections stall",
        cut_off_node,
        lasts=SILENCE_SECONDS,
    ),
    Fault("drain", "`kubectl drain` of a node with a worker; uncordoned at the end", drain_node),
    Fault("upgrade", "`helm upgrade` with another pod template for the workers", upgrade),
    Fault(
        "memory",
        "two parameters eat memory beyond the container's limit at every attempt, and one of them has the kernel end the whole "
        "worker (6 workers, lease 2 s, `MAX_DELIVERIES=2`)",
        eat_memory,
        calls=frozenset({task.EATS_ALONE, task.EATS_WORKER}),
        # A dozen workers' deaths until the culprit is found: a short lease, few deaths for each step, and enough pods, because
        # Kubernetes waits ever longer before it starts a container again.
        workers=2 * WORKERS,
        environment={task.HUNGRY: "yes", "MAX_DELIVERIES": "2"},
        values=(
            "--set=worker.leaseSeconds=2",
            # All that is asked for is guaranteed, and so the worker is not one of the kernel's first choices anyway.
            *(f"--set=worker.resources.{kind}.cpu=300m" for kind in ("requests", "limits")),
            *(f"--set=worker.resources.{kind}.memory=128Mi" for kind in ("requests", "limits")),
        ),
    ),
)
