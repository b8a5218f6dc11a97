"""One release as a user has it: Helm installs it, kubectl looks at it, its ledger is asked over a port-forward."""

from __future__ import annotations

import csv
import json
import sys
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from scripts.forward import Forward
from scripts.kube import Place, run
from tests.e2e.cluster import CONTEXT
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/ttg"
HERE = Path(__file__).parent
AWAY: dict[str, Any] = {"state": "away", "run": "", "total": -1, "done": -1, "dead": -1, "missing": -1, "workers": []}

PATIENCE = 120.0
"""Seconds a test waits for the cluster, which starts pods on two cores."""
HELM_TIMEOUT = "180s"
WAIT = ("--wait", "--timeout", HELM_TIMEOUT)
FORWARD_SECONDS = 5.0

LEFT_BY_A_RELEASE = (
    "pods,deployments,replicasets,statefulsets,jobs,configmaps,secrets,services,persistentvolumeclaims,"
    "networkpolicies,poddisruptionbudgets,serviceaccounts"
)


class Release:
    """A release of the chart in a namespace, on one of the brokers; `with` uninstalls it, if a test did not.

    Args:
        values: more of Helm's arguments, given at each install and upgrade.
    """

    def __init__(self, name: str, namespace: str, backend: str, *values: str) -> None:
        self.name = name
        self.place = Place(CONTEXT, namespace)
        self.backend = backend
        self.fullname = name if "ttg" in name else f"{name}-ttg"
        self._values = (
            *("-f", str(ROOT / f"values-{backend}.yaml"), "-f", str(HERE / "values.yaml")),
            *("--set-file", rf"run.files.squares\.py={HERE / 'squares.py'}"),
            *values,
        )
        self._ledger = Forward(self.place, f"service/{self.fullname}-ledger", 8080)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ledger.close()
        self._helm("uninstall", "--ignore-not-found")

    # --- Helm -----------------------------------------------------------------------------------------------------------

    def install(self, *values: str) -> None:
        self._helm("install", str(CHART), *self._values, *values, *WAIT)

    def upgrade(self, *values: str) -> None:
        """To the values of `install` and these, all others at their defaults."""
        self.begin_upgrade(*values, *WAIT)

    def begin_upgrade(self, *values: str) -> None:
        """The same, without a wait for its end."""
        self._helm("upgrade", str(CHART), *self._values, *values)

    def rollback(self, revision: int) -> None:
        self._helm("rollback", str(revision), *WAIT)

    def revision(self) -> int:
        history = json.loads(self._helm("history", "-o", "json"))
        return int(history[-1]["revision"])

    def test(self) -> str:
        return self._helm("test", "--timeout", HELM_TIMEOUT)

    def template(self, *arguments: str) -> str:
        """The manifests, rendered without a look at the cluster."""
        return self._helm("template", str(CHART), *self._values, *arguments)

    def uninstall(self) -> None:
        self._ledger.close()
        self._helm("uninstall", *WAIT)

    def _helm(self, verb: str, *arguments: str) -> str:
        return self.place.helm(verb, self.name, *arguments)

    # --- Kubernetes -----------------------------------------------------------------------------------------------------

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The component's pods, those that are being deleted left out."""
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        return [pod for pod in self._items("pods", "-l", labels) if "deletionTimestamp" not in pod["metadata"]]

    def starts(self, *components: str) -> dict[str, tuple[str, int]]:
        """Of each pod: which one it is, and how often its container was started again."""
        return {
            pod["metadata"]["name"]: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
            for component in components
            for pod in self.pods(component)
        }

    def secrets(self) -> dict[str, Any]:
        """The data of the release's own Secrets; Helm's records of its revisions are not among them."""
        found = self._items("secrets", "-l", f"app.kubernetes.io/instance={self.name}")
        return {secret["metadata"]["name"]: secret["data"] for secret in found}

    def left(self) -> set[str]:
        """What of any release is in the namespace; not what Kubernetes puts into each."""
        own = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
        claims = [(volume, volume["spec"]["claimRef"]) for volume in self._items("persistentvolumes")]
        volumes = [volume for volume, claim in claims if claim["namespace"] == self.place.namespace]
        left = [*self._items(LEFT_BY_A_RELEASE), *volumes]
        return {f"{item['kind']}/{item['metadata']['name']}" for item in left} - own

    def await_end(self, pods: Iterable[str]) -> None:
        """Wait until these are gone: Helm's --wait is for the new ones, while an old worker may still take a chunk."""
        self.place.kubectl("wait", "--for=delete", "--timeout=60s", *(f"pod/{name}" for name in pods))

    def execute(self, component: str, *command: str) -> str:
        return self.place.kubectl("exec", self.pods(component)[0]["metadata"]["name"], "--", *command)

    def kill(self, component: str) -> str:
        """SIGKILL a container's first process, from its node: within the container nobody can. Returns the pod's name."""
        pod = self.pods(component)[0]
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        run(["docker", "exec", pod["spec"]["nodeName"], *("ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", container)])
        return str(pod["metadata"]["name"])

    def _items(self, kinds: str, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.place.get(kinds, *arguments)["items"]
        return found

    # --- the ledger -----------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the ledger says of the run; AWAY while it does not answer."""
        try:
            return dict(json.loads(self._ask("/status")))
        except OSError:
            self._ledger.renew()  # the pod may be another one now
            return AWAY

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status that meets the condition."""
        status = AWAY

        def met() -> bool:
            nonlocal status
            status = self.status()
            return condition(status)

        eventually(met, lambda: f"the last status was {json.dumps(status)}; {self.report()}", patience=PATIENCE, pause=0.2)
        return status

    def complete(self) -> dict[str, Any]:
        return self.until(lambda status: status["state"] == "complete")

    def results(self) -> list[tuple[int, int]]:
        """Index and value of each row of results.csv."""
        rows = csv.reader(self._ask("/results.csv").splitlines())
        next(rows)
        return [(int(index), int(value)) for index, value in rows]

    def ttg(self, *arguments: str) -> str:
        """What the command `ttg` says of this release's ledger, asked from outside of the cluster."""
        self.until(lambda status: status != AWAY)
        return run([sys.executable, "-m", "scripts.cli", *arguments, "--ledger", self._ledger.url])

    def report(self) -> str:
        """For whoever reads a failed test."""
        logs = self.place.kubectl("logs", "-l", f"app.kubernetes.io/instance={self.name}", "--prefix", "--tail=8")
        return self.place.kubectl("get", "pods,jobs", "-o", "wide") + logs

    def _ask(self, path: str) -> str:
        if not self._ledger.wait(FORWARD_SECONDS):
            raise ConnectionError(f"there is no way to the ledger of release {self.name}")
        with urllib.request.urlopen(f"{self._ledger.url}{path}", timeout=5) as answer:
            return str(answer.read().decode())


def squares(count: int) -> list[tuple[int, int]]:
    return [(index, index * index) for index in range(count)]
