"""TLS to a broker whose accounts the user made, and another release that has that broker as its external one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.kube import CommandFailed, Place
from tests.e2e.release import Release, squares

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

COUNT = 200
SMALL = ("--set", f"run.parameters.count={COUNT}", "--set", "worker.replicas=1")
PASSWORD = "made-by-the-user"
CONNECT = "from worker.brokers import connect; from worker.config import Settings; connect(Settings.from_environ(), 'e2e').open()"


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def host(request: pytest.FixtureRequest, namespace: str) -> Iterator[Release]:
    """A release with TLS, accounts from a Secret of the user's, and a broker that lets other releases' pods come to it."""
    settings = ("broker.existingSecret=host-accounts", "tls.enabled=true", "networkPolicy.enabled=false")
    with Release("host", namespace, request.param, *SMALL, *(part for text in settings for part in ("--set", text))) as host:
        make_accounts(Release("host", namespace, request.param))
        yield host
    host.place.kubectl("delete", "secret", "host-accounts")


@pytest.fixture(scope="module")
def guest(host: Release) -> Iterator[Release]:
    """A release without a broker: the host's is its external one."""
    # Another seed, so that it is another run: on one broker, the same specification is the same run.
    external = ("broker.external.existingSecret=guest-broker", "broker.external.caKey=ca.crt", "run.seed=1")
    arguments = (*SMALL, *(part for text in external for part in ("--set", text)))
    with Release("guest", host.place.namespace, host.backend, *arguments) as guest:
        yield guest
    host.place.kubectl("delete", "secret", "guest-broker", "--ignore-not-found")


def make_accounts(release: Release) -> None:
    """The Secret that the chart would generate, as its values say to make one, and an account of all rights beside the others."""
    rendered = release.template("-s", "templates/broker/secret.yaml")
    secret = json.loads(release.place.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", given=rendered))
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    if release.backend == "redis":
        data["users.acl"] += f"user everything on >{PASSWORD} ~ttg:* resetchannels +@all\n"
    else:
        definitions: dict[str, Any] = json.loads(data["definitions.json"])
        definitions["users"].append({"name": "everything", "password": PASSWORD, "tags": []})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions["permissions"].append({"user": "everything", "vhost": "ttg", **rights})
        data["definitions.json"] = json.dumps(definitions)
    make_secret(release.place, "host-accounts", data)


def make_secret(place: Place, name: str, data: dict[str, str]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
    place.kubectl("create", "-f", "-", given=json.dumps(secret))


def test_a_run_over_tls_with_accounts_of_the_users_own_is_complete(host: Release) -> None:
    host.install()
    assert host.complete()["done"] == COUNT
    assert host.results() == squares(COUNT)


def test_the_certificate_is_verified(host: Release) -> None:
    host.execute("worker", "python", "-c", CONNECT)
    with pytest.raises(CommandFailed, match="certificate verify failed"):
        host.execute("worker", "env", "BROKER_CA_FILE=", "python", "-c", CONNECT)


def test_the_certificate_survives_an_upgrade(host: Release) -> None:
    before, secrets = host.starts("broker", "ledger", "worker"), host.secrets()
    assert "host-ttg-broker-tls" in secrets
    host.upgrade()
    assert host.secrets() == secrets
    assert host.starts("broker", "ledger", "worker") == before


def test_helm_test_passes_over_tls(host: Release) -> None:
    assert "Succeeded" in host.test()


def test_a_broker_of_ones_own_is_used_by_its_secret(host: Release, guest: Release) -> None:
    redis, rabbitmq = "rediss://everything:{}@host-ttg-redis:6379/0", "amqps://everything:{}@host-ttg-rabbitmq:5671/ttg"
    url = (redis if host.backend == "redis" else rabbitmq).format(PASSWORD)
    authority = base64.b64decode(host.secrets()["host-ttg-broker-tls"]["ca.crt"]).decode()
    make_secret(host.place, "guest-broker", {"url": url, "ca.crt": authority})
    guest.install()
    assert guest.complete()["done"] == COUNT
    assert guest.results() == squares(COUNT)
    assert guest.pods("broker") == []
    assert "Succeeded" in guest.test()
