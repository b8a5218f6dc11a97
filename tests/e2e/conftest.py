"""A namespace that enforces the `restricted` Pod Security level, on a real cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from scripts.kube import Place
from tests.e2e.cluster import CONTEXT, unavailable


@pytest.fixture(scope="session")
def needs_cluster() -> None:
    """Without one, a laptop skips the test; where it was asked for (`make e2e` sets E2E), it fails."""
    if reason := unavailable():
        if os.environ.get("E2E"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def namespace(needs_cluster: None) -> Iterator[str]:
    """A namespace of this module's own, deleted at the end."""
    name = f"ttg-e2e-{secrets.token_hex(3)}"
    cluster = Place(CONTEXT)
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted", "app.kubernetes.io/part-of=ttg")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
