"""What the values files render is what this version of Kubernetes knows, to the last field."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.release import ROOT, Release

pytestmark = pytest.mark.e2e

TLS = ("--set", "tls.enabled=true")
MANAGED = ("-f", str(ROOT / "docs/values-aks.yaml"))


@pytest.mark.parametrize("backend", ["redis", "rabbitmq"])
@pytest.mark.parametrize("values", [(), TLS, MANAGED], ids=["plain", "tls", "managed"])
def test_the_server_accepts_every_object_without_a_warning(namespace: str, backend: str, values: tuple[str, ...]) -> None:
    release = Release("ttg", namespace, backend, *values)
    manifests = release.template("--skip-tests")  # a pod needs its account to be there
    command = release.place.command("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    ended = subprocess.run(command, input=manifests, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")  # a pod that the restricted level forbids is a warning
    assert len(ended.stdout.splitlines()) > 10
