"""kubectl, helm and docker as functions: what they print, or their own sentence as an error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import TtgError

COMMAND_SECONDS = 300.0


class CommandFailed(TtgError):
    """A command ended with another status than 0."""


def run(command: Sequence[str], *, given: str | None = None) -> str:
    """What `command` prints on standard output.

    Args:
        given: its standard input.

    Raises:
        CommandFailed: it is missing, ended with another status than 0, or did not end in `COMMAND_SECONDS`.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except FileNotFoundError:
        raise CommandFailed(f"{command[0]} is missing; scripts/cluster-up says where to get it") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{' '.join(command)} did not end in {COMMAND_SECONDS:.0f} s") from None
    if done.returncode:
        raise CommandFailed(f"{' '.join(command[:4])}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Place:
    """Where a release is: a namespace of the cluster that a kubectl context names.

    Attributes:
        context: empty: the current one.
        namespace: empty: the context's.
    """

    context: str = ""
    namespace: str = ""

    def command(self, *arguments: str) -> list[str]:
        """The command line of a kubectl command."""
        return ["kubectl", *self._options("--context"), *arguments]

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return run(self.command(*arguments), given=given)

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get`, as the API's JSON."""
        return dict(json.loads(self.kubectl("get", *arguments, "--output=json")))

    def helm(self, *arguments: str) -> str:
        return run(["helm", *self._options("--kube-context"), *arguments])

    def _options(self, context: str) -> list[str]:
        named = {context: self.context, "--namespace": self.namespace}
        return [f"{option}={value}" for option, value in named.items() if value]
