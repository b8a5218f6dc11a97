"""A namespace that enforces the `restricted` Pod Security level, on a real cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import kubectl, unavailable


@pytest.fixture(scope="session")
def cluster() -> None:
    """Without one, a laptop skips the test; where it was asked for (`make e2e` sets E2E), it fails."""
    if reason := unavailable():
        if os.environ.get("E2E"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def namespace(cluster: None) -> Iterator[str]:
    """A namespace of this module's own, deleted at the end."""
    name = f"ttg-e2e-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted", "app.kubernetes.io/part-of=ttg")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
