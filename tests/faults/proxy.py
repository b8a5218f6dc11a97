"""A proxy between one program and its broker, and what a network can do to the connections through it."""

from __future__ import annotations

import subprocess
import sys
from typing import Self

from tests.faults import relay


class Proxy:
    """Stands before the broker at the port `to` of this machine; `with` starts it and ends it. Redis and AMQP are alike to it.

    Each method returns when the fault is in effect, for what was sent and for whoever connected before the call. Faults add up:
    what connects during a `hold` that was followed by a `cut` is held.

    A client that connects while the broker is away is accepted and reset at once, as near to refused as a proxy comes. A side
    that closes its connection: what it had sent before arrives, then both sides are closed. A side that breaks: both are reset.

    Attributes:
        port: where it listens (127.0.0.1).
    """

    port: int

    def __init__(self, to: int) -> None:
        self._to = to

    def __enter__(self) -> Self:
        # Isolated and without site-packages (-I -S): it needs neither, starts in half the time, and from any folder.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", relay.__file__, str(self._to)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for the one who started us, and the pipe tells of its end
        )
        self.port = int(self._answer())
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()  # the end of its input is what ends it

    def cut(self) -> None:
        """Reset every connection, to both sides; what is under way is lost. New connections are relayed as before."""
        self._tell("cut")

    def hold(self) -> None:
        """A network that stalls: nothing passes any more, no connection is closed, nobody is told of anything, and whoever
        connects is accepted and hears nothing.

        Nothing is read from either side, so nothing is lost: the kernel's buffers fill up, and then a sender's sends block.
        After `restore` all of it arrives, if late: also what a client sent that gave up meanwhile.
        """
        self._tell("hold")

    def delay(self, seconds: float) -> None:
        """From now on every byte and every end of a connection, in both directions, arrives `seconds` later than it would."""
        self._tell(f"delay {seconds}")

    def lose_reply(self) -> None:
        """On each connection that is open now: relay what the client sends next, drop what the server sends after it, and
        reset the connection to both sides. So a command is carried out, and its client cannot know.

        What the server sends before the client does is still relayed (the reply to a command that waits).
        """
        self._tell("lose_reply")

    def restore(self) -> None:
        """Relay plainly again. What was held goes on; what is under way slowly arrives when it is due, later bytes behind it."""
        self._tell("restore")

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        if (answer := self._answer()) != relay.DONE:
            raise RuntimeError(f"the relay answered {answer!r} to {command!r}")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
