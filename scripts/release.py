"""A release of the chart in a cluster: its pods and their names, found by labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from scripts.kube import Place
from worker.errors import TtgError

MANAGEMENT_PORT = 15672


class NotThere(TtgError):
    """What was looked for is not in the cluster."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, as it was when it was asked for.

    Attributes:
        name: its name; a StatefulSet's next pod has the same.
        uid: which of those of that name.
        component: worker, ledger, broker or seed.
        node: where it runs; empty before it is placed.
        container: containerd's id of its container; empty before there is one.
        restarts: of its container.
        is_ready: whether its probe says so.
        phase: Kubernetes' word for how far it is.
    """

    name: str
    uid: str
    component: str
    node: str
    container: str
    restarts: int
    is_ready: bool
    phase: str

    @classmethod
    def read(cls, item: dict[str, Any]) -> Self:
        metadata, status = item["metadata"], item["status"]
        container: dict[str, Any] = next(iter(status.get("containerStatuses", [])), {})
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            component=metadata["labels"]["app.kubernetes.io/component"],
            node=item["spec"].get("nodeName", ""),
            container=container.get("containerID", "").removeprefix("containerd://"),
            restarts=container.get("restartCount", 0),
            is_ready=container.get("ready", False),
            phase=status["phase"],
        )


class Release:
    """One release, whose objects carry the label `app.kubernetes.io/instance`."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name

    def pods(self, component: str = "") -> list[Pod]:
        """Its pods, by name."""
        found = self.place.get("pods", f"--selector={self._selector(component)}")["items"]
        return sorted((Pod.read(item) for item in found), key=lambda pod: pod.name)

    def pod(self, component: str) -> Pod:
        """The first pod of a component.

        Raises:
            NotThere: there is none.
        """
        pods = self.pods(component)
        if not pods:
            raise NotThere(f"release {self.name} has no {component} in {self._where}; is it installed there?")
        return pods[0]

    def service(self, component: str) -> tuple[str, int]:
        """Name and port of a component's Service.

        Raises:
            NotThere: there is none.
        """
        found = self.place.get("services", f"--selector={self._selector(component)}")["items"]
        if not found:
            raise NotThere(
                f"release {self.name} is not in {self._where}: name the one that you installed with RELEASE= and NAMESPACE="
            )
        return found[0]["metadata"]["name"], found[0]["spec"]["ports"][0]["port"]

    def _selector(self, component: str) -> str:
        labels = {"instance": self.name, **({"component": component} if component else {})}
        return ",".join(f"app.kubernetes.io/{label}={value}" for label, value in labels.items())

    @property
    def _where(self) -> str:
        return f"namespace {self.place.namespace}" if self.place.namespace else "the current namespace"
