"""Where the faults of a cluster are judged: a release of the chart, and on each node a file of the calls made there."""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from scripts.fault_demo import NAMESPACE
from scripts.forward import Forward
from scripts.kube import Place, run
from scripts.release import NotThere, Pod
from scripts.release import Release as Pods
from tests.e2e.cluster import CONTEXT
from tests.e2e.release import Release
from tests.faults.checker import DEAD, Call, Evidence
from tests.faults.cluster import task

HERE = Path(__file__).parent
COUNT = 900
MAX_ATTEMPTS = 3
WORKERS = 3
ANSWER_SECONDS = 2.0
"""A ledger that does not answer for so long gets a new port-forward: the old one may hang."""

BROKERS = {"redis": ("Redis", ("redis-cli", "--version")), "rabbitmq": ("RabbitMQ", ("rabbitmqctl", "version"))}
"""Each one's name, and the command that ends with its version."""

CALLS = """\
---
apiVersion: v1
kind: PersistentVolume
metadata:
  name: {name}
spec: # on no node in particular: each pod has the folder of the node that it is on
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {{namespace: {name}, name: calls}}
  hostPath: {{path: {folder}, type: Directory}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: calls
  namespace: {name}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: {name}
  resources: {{requests: {{storage: 1Gi}}}}
"""
MOUNT = {
    "volumes": [{"name": "calls", "persistentVolumeClaim": {"claimName": "calls"}}],
    "containers": [{"name": "worker", "volumeMounts": [{"name": "calls", "mountPath": "/calls"}]}],
}


class Ground:
    """A release on one broker, in a namespace of its own, through many runs; gone at the end of the `with` block.

    Broker and ledger are on one node, `home`, which the faults spare.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.namespace = f"ttg-faults-{backend}"
        self.place = Place(CONTEXT, self.namespace)
        nodes = Place(CONTEXT).get("nodes", "--selector=!node-role.kubernetes.io/control-plane")["items"]
        self.nodes = sorted(node["metadata"]["name"] for node in nodes)
        if len(self.nodes) < WORKERS:
            raise NotThere(f"the cluster has {len(self.nodes)} nodes for workers, and {WORKERS} are needed: make cluster")
        self.home = self.nodes[0]
        self.release = Release(
            *("ttg", self.namespace, backend, "--values", str(HERE / "values.yaml")),
            *("--set", f"run.parameters.count={COUNT}", "--set", f"run.maxAttempts={MAX_ATTEMPTS}"),
            *("--set-file", rf"run.files.task\.py={HERE / 'task.py'}"),
            *("--set", rf"{backend}.nodeSelector.kubernetes\.io/hostname={self.home}"),
            *("--set", rf"ledger.nodeSelector.kubernetes\.io/hostname={self.home}"),
        )
        self._pods = Pods(self.place, "ttg")
        self._ledger = Forward(self.place, "service/ttg-ledger", 8080)
        self._folder = f"/var/lib/ttg-faults/{self.namespace}"
        self._values: list[str] = []
        self.run = ""
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._remove()
        try:
            for node in self.nodes:
                run(["docker", "exec", node, "mkdir", "--parents", "--mode=0777", self._folder])
            manifests = (NAMESPACE + CALLS).format(name=self.namespace, folder=self._folder)
            self.place.kubectl("apply", "--filename=-", given=manifests)
            self.release.install("--set=worker.replicas=0")
            patch = json.dumps({"spec": {"template": {"spec": MOUNT}}})
            self.place.kubectl("patch", "deployment", "ttg-worker", "--type=strategic", f"--patch={patch}")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._remove()

    def _remove(self) -> None:
        self._ledger.close()
        self.place.helm("uninstall", "ttg", "--ignore-not-found")
        self.place.kubectl("delete", "namespace", self.namespace, "--ignore-not-found")
        self.place.kubectl("delete", "persistentvolume", self.namespace, "--ignore-not-found")
        for node in self.nodes:
            run(["docker", "exec", node, "rm", "--recursive", "--force", self._folder])

    # --- runs -----------------------------------------------------------------------------------------------------------

    def begin(self, name: str, workers: int, environment: Mapping[str, str], *values: str) -> None:
        """A new run. The workers come last: the ledger must see the beginning."""
        self.run = name
        file = f"{self._folder}/{name}"
        for node in self.nodes:
            run(["docker", "exec", node, "sh", "-c", f"touch {file} && chmod 0666 {file}"])
        self.environment = {task.LOG: f"/calls/{name}", **environment}
        extra = [f"--set-string=worker.extraEnv.{key}={value}" for key, value in self.environment.items()]
        self._values = [f"--set=run.name={name}", *extra, *values]
        self.release.upgrade(*self._values, "--set=worker.replicas=0")
        self._values.append(f"--set=worker.replicas={workers}")
        self.release.begin_upgrade(*self._values)

    def upgrade(self, *values: str) -> None:
        """Upgrade the release in the middle of its run; returns when Kubernetes was told."""
        self.release.begin_upgrade(*self._values, *values)

    def versions(self) -> str:
        """What is under test, for the page."""
        node = self.place.get("node", self.home)["status"]["nodeInfo"]
        image = run(["docker", "inspect", "--format={{.Config.Image}}", self.home]).strip()
        (release,) = json.loads(self.place.helm("list", "--output=json"))
        broker = f"{BROKERS[self.backend][0]} {self.release.execute('broker', *BROKERS[self.backend][1]).split()[-1]}"
        return (
            f"{broker}; Kubernetes {node['kubeletVersion']} ({image}), {node['containerRuntimeVersion'].replace('://', ' ')}, "
            f"Linux {node['kernelVersion']}, chart {release['chart']}"
        )

    # --- what is to be seen ---------------------------------------------------------------------------------------------

    def pods(self, component: str = "") -> list[Pod]:
        return self._pods.pods(component)

    def victim(self, component: str) -> Pod:
        """A pod of a component that a fault may strike; a worker is one whose node may be lost.

        Raises:
            NotThere: there is none.
        """
        found = [pod for pod in self.pods(component) if pod.container and (component != "worker" or pod.node != self.home)]
        if not found:
            raise NotThere(f"there is no {component} to strike; a worker must not be on {self.home}, with broker and ledger")
        return found[0]

    def calls(self) -> list[Call]:
        """All calls of this run so far, also those on a node that stands still."""
        with tempfile.TemporaryDirectory() as folder:
            for node in self.nodes:
                run(["docker", "cp", "--quiet", f"{node}:{self._folder}/{self.run}", f"{folder}/{node}"])
            text = "".join(Path(folder, node).read_text() for node in self.nodes)
        return [Call(*map(int, line.split())) for line in text.splitlines()]

    def status(self) -> dict[str, Any]:
        """The ledger's; empty while it does not answer, or answers for the run before."""
        try:
            status = dict(json.loads(self._ask("/status")))
        except OSError:
            self._ledger.renew()  # the pod may be another one now
            return {}
        return status if status.get("run") == self.run else {}

    def outcomes(self) -> frozenset[int] | None:
        """Indices that have an outcome in the ledger; None while it does not answer."""
        with contextlib.suppress(OSError):
            return frozenset(self._values_of_results()) | frozenset(self._dead())
        self._ledger.renew()
        return None

    def evidence(self) -> Evidence:
        """Of a run that is complete."""
        return Evidence(self._values_of_results(), self._dead(), self.calls(), self.status())

    def expected(self, index: int) -> Any:
        right = task.value(index, self.environment)
        return DEAD if right is None else right

    def _values_of_results(self) -> dict[int, Any]:
        return {int(row["parameter"]): json.loads(row["value"]) for row in self._rows("/results.csv")}

    def _dead(self) -> list[int]:
        return [int(row["parameter"]) for row in self._rows("/dead.csv")]

    def _rows(self, path: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self._ask(path).splitlines()))

    def _ask(self, path: str) -> str:
        if not self._ledger.wait(ANSWER_SECONDS):
            raise ConnectionError("there is no way to the ledger")
        with urllib.request.urlopen(f"{self._ledger.url}{path}", timeout=ANSWER_SECONDS) as answer:
            return str(answer.read().decode())
