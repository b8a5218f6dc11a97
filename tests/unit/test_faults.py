"""What the fault demonstration concludes from the ledger's status, with the kill and the cluster replaced."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scripts import faults
from scripts.faults import Fault
from scripts.kube import Place
from scripts.release import NotThere, Pod, Release

URL = "http://127.0.0.1:1"


class FakeRelease:
    """Pods as a test sets them."""

    def __init__(self, *pods: Pod) -> None:
        self.place = Place()
        self.current = list(pods)

    def pods(self, component: str = "") -> list[Pod]:
        return [pod for pod in self.current if component in ("", pod.component)]


class Scene:
    """A fault with a clock, a release and a ledger that the test moves."""

    def __init__(self, kind: str, *pods: Pod) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.commands: list[list[str]] = []
        self.settled: set[str] = set()
        self.release = FakeRelease(*pods)
        self.fault = Fault(kind, cast(Release, self.release), self.said.append)

    def look(self, after: float, status: dict[str, Any] | None) -> None:
        self.now = 100.0 + after
        self.fault.look(status, URL)


def pod(name: str, component: str, node: str) -> Pod:
    return Pod(name, f"uid-{name}", component, node, f"id-{name}", 0, is_ready=True, phase="Running")


def status(done: int = 30, problem: str = "", **computing: list[str]) -> dict[str, Any]:
    workers = [{"name": name, "computing": chunks} for name, chunks in computing.items()]
    return {"done": done, "total": 100, "problem": problem, "workers": workers}


PODS = [
    pod("alpha", "worker", "node-1"),
    pod("beta", "worker", "node-2"),
    pod("gamma", "worker", "node-3"),
    pod("redis-0", "broker", "node-1"),
    pod("ledger-0", "ledger", "node-2"),
]


@pytest.fixture
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(request.param, *PODS)

    def run(command: list[str], **_options: Any) -> str:
        scene.commands.append(command)
        return ""

    monkeypatch.setattr(faults, "run", run)
    monkeypatch.setattr("scripts.kube.run", run)
    monkeypatch.setattr(faults, "time", SimpleNamespace(monotonic=lambda: scene.now))
    monkeypatch.setattr(faults, "settled", lambda _url, chunk: chunk in scene.settled)
    return scene


@pytest.mark.parametrize("scene", ["worker"], indirect=True)
def test_the_worker_with_the_most_in_hand_is_killed_without_grace(scene: Scene) -> None:
    scene.fault.strike(status(alpha=["0-9"], beta=["10-19", "20-29"]))
    (command,) = scene.commands
    assert command[:3] == ["docker", "exec", "node-2"]
    assert command[-2:] == ["--signal=SIGKILL", "id-beta"]


@pytest.mark.parametrize("scene", ["node"], indirect=True)
def test_a_node_that_carries_neither_broker_nor_ledger_is_killed(scene: Scene) -> None:
    scene.fault.strike(status())
    assert scene.commands == [["docker", "kill", "node-3"]]


@pytest.mark.parametrize("scene", ["node"], indirect=True)
def test_without_such_a_node_none_is_killed(scene: Scene) -> None:
    scene.release.current = [replace(pod, node="node-1") for pod in PODS]
    with pytest.raises(NotThere, match="give the cluster one node more"):
        scene.fault.strike(status())
    assert scene.commands == []
    assert not scene.fault.struck


@pytest.mark.parametrize("scene", ["worker"], indirect=True)
def test_lost_chunks_are_redelivered_when_others_have_them_and_recovered_when_the_ledger_does(scene: Scene) -> None:
    scene.fault.strike(status(alpha=["0-9", "10-19"]))
    scene.look(0.5, status(alpha=["0-9", "10-19"], beta=["20-29"]))
    assert scene.fault.redelivered is None
    scene.look(0.7, status(beta=["0-9"]))
    assert scene.fault.redelivered is None
    scene.settled = {"0-9"}
    scene.look(0.9, status(beta=["10-19"]))
    assert scene.fault.redelivered == pytest.approx(0.9)
    assert scene.fault.recovered is None
    scene.settled = {"0-9", "10-19"}
    scene.look(1.2, status())
    assert scene.fault.recovered == pytest.approx(1.2)


@pytest.mark.parametrize("scene", ["broker", "ledger"], indirect=True)
def test_the_run_goes_on_with_the_first_value_after_the_outage_was_noticed(scene: Scene) -> None:
    scene.fault.strike(status(done=30))
    scene.look(0.2, status(done=32))  # what was under way
    scene.look(0.4, None if scene.fault.kind == "ledger" else status(done=33, problem="waiting for the broker"))
    scene.look(2.0, None)
    assert scene.fault.recovered is None
    scene.look(3.0, status(done=40))
    assert scene.fault.recovered == pytest.approx(3.0)


@pytest.mark.parametrize("scene", ["broker"], indirect=True)
def test_a_pod_is_replaced_when_its_successor_is_ready(scene: Scene) -> None:
    scene.fault.strike(status())
    successor = replace(PODS[3], uid="another", is_ready=False)
    scene.release.current = [successor]
    scene.now = 102.0
    scene.fault.look_at_pods()
    assert scene.fault.replaced is None
    scene.release.current = [replace(successor, is_ready=True)]
    scene.now = 104.0
    scene.fault.look_at_pods()
    assert scene.fault.replaced == pytest.approx(4.0)
    assert "in a new pod" in scene.said[-1]
