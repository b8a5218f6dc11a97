"""A port of a pod or Service on this machine, for as long as it is wanted.

kubectl's own port-forward ends with the pod that it reached; this one begins again with the pod's successor.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import Self

from scripts.kube import Place

AGAIN_SECONDS = 0.5
"""Between two tries: a pod that is not there yet ends each at once."""
STOP_SECONDS = 5.0


class Forward:
    """`kubectl port-forward`, started again by `keep` when it ended.

    Args:
        place: where the target is.
        target: `service/name` or `pod/name`.
        port: the target's.
        local: ours; 0: any free one.
    """

    def __init__(self, place: Place, target: str, port: int, local: int = 0) -> None:
        self.port = local or _free_port()
        self._command = place.command("port-forward", target, f"{self.port}:{port}")
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keep(self) -> None:
        """Start it if it is not running; returns at once."""
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() - self._started >= AGAIN_SECONDS:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the command in front, which ends this one
            )

    def sleep(self, seconds: float) -> None:
        """Wait, and keep it; for loops that take a `sleep`."""
        self.keep()
        time.sleep(seconds)

    def wait(self, seconds: float) -> bool:
        """Whether the port answers within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.keep()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            time.sleep(0.1)
        return False

    def renew(self) -> None:
        """End it and start another: what it reached is gone, and it has not noticed."""
        self.close()
        self.keep()

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.keep()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
