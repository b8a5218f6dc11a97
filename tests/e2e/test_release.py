"""The life of a release on either broker, from install to uninstall. Each test is a step that goes on from the one before."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from scripts.kube import CommandFailed
from tests.e2e.cluster import IMAGE
from tests.e2e.release import PATIENCE, Release, squares
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

COUNT = 3000

FASTER = ("--set", "worker.concurrency=4")
OTHER = (*FASTER, "--set", "run.parameters.count=500")

STRANGER = """
import json, socket, sys, time

def reaches(address):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(address.split(":"), 2).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False

broker, ledger = sys.argv[1:]
print(json.dumps({"ledger": reaches(ledger), "broker": reaches(broker)}))
"""


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def release(request: pytest.FixtureRequest, namespace: str) -> Iterator[Release]:
    with Release("ttg", namespace, request.param) as release:
        yield release


def test_install_is_ready_under_the_restricted_level(release: Release) -> None:
    release.install()
    status = release.until(lambda status: status["done"] > 0)
    assert (status["total"], status["dead"]) == (COUNT, 0)
    eventually(lambda: {pod["status"]["phase"] for pod in release.pods("seed")} == {"Succeeded"}, release.report)


def test_a_killed_worker_is_started_again(release: Release) -> None:
    victim = release.kill("worker")
    eventually(lambda: release.starts("worker")[victim][1] == 1, release.report)
    assert release.status()["state"] == "running"


def test_a_killed_broker_comes_back_with_what_it_held(release: Release) -> None:
    victim = release.kill("broker")
    eventually(lambda: release.starts("broker")[victim][1] == 1, release.report)
    before = release.until(lambda status: status["done"] >= 0)["done"]
    status = release.until(lambda status: status["done"] > before)
    assert "repair" not in {event["kind"] for event in status["events"]}  # nothing had to be published again


def test_changed_worker_settings_roll_the_workers_while_the_run_goes_on(release: Release) -> None:
    others, secrets = release.starts("broker", "ledger"), release.secrets()
    before = release.starts("worker")
    assert release.until(lambda status: status["done"] > 0)["missing"] > 0
    release.upgrade(*FASTER)
    after = release.starts("worker")
    assert after.keys().isdisjoint(before)
    assert release.starts("broker", "ledger") == others
    assert release.secrets() == secrets  # the passwords were generated at the install
    status = release.complete()
    computed = {worker["name"] for worker in status["workers"] if worker["done"]}
    assert computed & before.keys()
    assert computed & after.keys()


def test_nothing_was_lost_and_nothing_counted_twice(release: Release) -> None:
    status = release.complete()
    assert (status["done"], status["missing"], status["dead"], status["disagreements"]) == (COUNT, 0, 0, 0)
    # What was in hand at the two kills, and on its way to the ledger at the second; those that were rolled gave everything back.
    assert status["recomputed"] <= COUNT // 10
    assert "repair" not in {event["kind"] for event in status["events"]}
    assert release.results() == squares(COUNT)


def test_an_upgrade_that_changes_nothing_restarts_nothing(release: Release) -> None:
    components = ("broker", "ledger", "worker", "seed")
    before, secrets = release.starts(*components), release.secrets()
    release.upgrade(*FASTER)
    assert release.starts(*components) == before
    assert release.secrets() == secrets


def test_helm_test_sends_a_message_through_and_succeeds(release: Release) -> None:
    assert "Succeeded" in release.test()


@pytest.mark.parametrize("component", ["stranger", "worker"])
def test_of_the_pods_in_the_namespace_only_the_releases_own_reach_the_broker(release: Release, component: str) -> None:
    broker = f"{release.fullname}-{release.backend}:{6379 if release.backend == 'redis' else 5672}"
    ledger = f"{release.fullname}-ledger:8080"
    labels = {"app.kubernetes.io/name": "ttg", "app.kubernetes.io/instance": release.name}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"a-{component}", "labels": {**labels, "app.kubernetes.io/component": component}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "reach",
                    "image": IMAGE,
                    "command": ["python", "-c", STRANGER, broker, ledger],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    release.place.kubectl("apply", "-f", "-", given=json.dumps(pod))
    try:
        release.place.kubectl("wait", "pod", f"a-{component}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        reached = json.loads(release.place.kubectl("logs", f"a-{component}"))
    finally:
        release.place.kubectl("delete", "pod", f"a-{component}", "--grace-period=0", "--force")
    # The ledger is open to the namespace, so that a stranger's network is known to work; a worker has no business there.
    assert reached == {"stranger": {"ledger": True, "broker": False}, "worker": {"ledger": False, "broker": True}}[component]


def test_another_specification_begins_a_run_beside_the_old_ledger(release: Release) -> None:
    first = release.status()["run"]
    release.upgrade(*OTHER, "--set-string", "worker.extraEnv.REFUSED=7")
    status = release.until(lambda status: status["run"] != first and status["state"] == "complete")
    assert (status["total"], status["done"], status["dead"], status["missing"]) == (500, 499, 1, 0)
    files = release.execute("ledger", "ls", "/ledger").split()
    assert {f"{first}.sqlite", f"{status['run']}.sqlite"} <= set(files)


def test_dead_parameters_are_listed_and_tried_again(release: Release) -> None:
    assert release.ttg("dead", "list") == "7: 1 attempt, Reject: 7 is refused\n"
    old = release.starts("worker")
    release.upgrade(*OTHER)  # what was wrong is put right
    release.await_end(old)
    assert release.ttg("dead", "retry") == "1 dead parameter is missing again\n"
    assert release.until(lambda status: status["done"] == 500)["state"] == "complete"
    assert release.results() == squares(500)


def test_a_rollback_returns_to_the_run_before_and_its_results(release: Release) -> None:
    secrets = release.secrets()
    release.rollback(release.revision() - 2)
    status = release.until(lambda status: status["total"] == COUNT)
    assert (status["state"], status["done"]) == ("complete", COUNT)
    assert release.results() == squares(COUNT)
    assert release.secrets() == secrets


def test_uninstall_leaves_nothing(release: Release) -> None:
    release.uninstall()
    eventually(lambda: not release.left(), lambda: f"left: {release.left()}", patience=PATIENCE, pause=0.5)
    with pytest.raises(CommandFailed, match="not found"):
        release.revision()
