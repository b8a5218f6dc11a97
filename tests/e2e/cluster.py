"""The cluster of `make cluster`, and no other."""

from __future__ import annotations

import os
import shutil

from scripts.kube import CommandFailed, Place

CONTEXT = f"kind-{os.environ.get('CLUSTER', 'ttg')}"
IMAGE = "ttg-worker:dev"


def unavailable() -> str | None:
    """Why there is no cluster to test on, or None."""
    missing = [tool for tool in ("docker", "kubectl", "helm") if shutil.which(tool) is None]
    if missing:
        return f"the cluster tests need {', '.join(missing)}: scripts/cluster-up says where to get them"
    try:
        Place(CONTEXT).kubectl("get", "nodes", "--request-timeout=5s")
    except CommandFailed as error:
        return f"there is no cluster behind the context {CONTEXT} (make cluster): {error}"
    return None
