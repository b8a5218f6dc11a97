"""kubectl and helm, against the cluster of `make cluster` and no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

CONTEXT = f"kind-{os.environ.get('CLUSTER', 'ttg')}"
IMAGE = "ttg-worker:dev"
HELM_TIMEOUT = "180s"


class CommandFailed(AssertionError):
    """A command ended with another status than 0; its text is what it wrote."""


def unavailable() -> str | None:
    """Why there is no cluster to test on, or None."""
    missing = [tool for tool in ("docker", "kubectl", "helm") if shutil.which(tool) is None]
    if missing:
        return f"cluster tests need {', '.join(missing)}"
    try:
        kubectl("get", "nodes", "--request-timeout=5s")
    except CommandFailed as error:
        return f"there is no cluster {CONTEXT} (make cluster): {error}"
    return None


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return run("kubectl", "--context", CONTEXT, *arguments, stdin=stdin)


def helm(*arguments: str) -> str:
    return run("helm", "--kube-context", CONTEXT, *arguments)


def run(*command: str, stdin: str | None = None) -> str:
    """What a command wrote to standard output.

    Raises:
        CommandFailed: it did not end with status 0.
    """
    ended = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CommandFailed(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def items(namespace: str, kinds: str, *arguments: str) -> list[dict[str, Any]]:
    """Objects of a namespace."""
    found: list[dict[str, Any]] = json.loads(kubectl("-n", namespace, "get", kinds, "-o", "json", *arguments))["items"]
    return found


def names(objects: list[dict[str, Any]]) -> set[str]:
    return {f"{item['kind']}/{item['metadata']['name']}" for item in objects}
