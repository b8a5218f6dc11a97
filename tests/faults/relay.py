"""`relay.py PORT`: a TCP relay to the broker at that port of this machine, and what a network can do to its connections.

It knows nothing of Redis or AMQP. It prints the port that it listens on, then carries out each line of its standard input
(`Relay.obey`) and answers it with `done`. It ends with its standard input, so it never outlives who started it. It imports the
standard library alone: a trial starts several, and each is there after some 30 ms.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

HOST = "127.0.0.1"
READ_BYTES = 64 * 1024
LIMIT_BYTES = 1024 * 1024
"""Under way in one direction before no more is read: from then on the sender feels a receiver that is slow."""
DONE = "done"
_COMMANDS = 0  # the file descriptor of standard input
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 s


class Direction:
    """One way through a connection: what was read from `source` and is not written to `sink` yet.

    Attributes:
        under_way: bytes, and the moment (`time.monotonic`) at which they are due, or later, after those before them; empty bytes
            stand for the end.
        size: bytes under way.
        ended: the end was read.
        is_stuck: `sink` takes no more at the moment.
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.under_way: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.ended = False
        self.is_stuck = False


class Connection:
    """A client's connection to us and ours to the server, in its name.

    Attributes:
        loses_reply: the reply to what the client sends next is to be lost.
        awaits_reply: the client has sent it.
        watched: what each socket is registered for.
    """

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.to_server = Direction(client, server)
        self.to_client = Direction(server, client)
        self.is_open = True
        self.loses_reply = False
        self.awaits_reply = False
        self.watched = {client: 0, server: 0}


class Relay:
    """Every connection, and how the network is at the moment. Faults add up until `restore`."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._selector = DefaultSelector()
        self._connections: set[Connection] = set()
        self._holds = False
        self._delay = 0.0
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector.register(self._listener, EVENT_READ)
        self._selector.register(_COMMANDS, EVENT_READ)

    def serve(self) -> None:
        """Until standard input ends."""
        while True:
            is_told = False
            for key, events in self._selector.select(self._deliver_what_is_due()):
                if key.data is not None:
                    self._turn(key.data, key.fileobj, events)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    is_told = True
            if is_told:  # last: whatever happened before the command was given is handled by now
                lines = os.read(_COMMANDS, READ_BYTES).decode().splitlines()
                if not lines:
                    return
                for line in lines:
                    self.obey(line)
                    print(DONE, flush=True)

    def obey(self, line: str) -> None:
        """Carry out one command; `tests.faults.proxy.Proxy` says what each means.

        Raises:
            ValueError: there is no such command.
        """
        match line.split():
            case ["cut"]:
                for connection in list(self._connections):
                    self._reset(connection)
            case ["hold"]:
                self._holds = True
            case ["delay", seconds]:
                self._delay = float(seconds)
            case ["lose_reply"]:
                for connection in self._connections:
                    connection.loses_reply = True
            case ["restore"]:
                self._holds = False
                self._delay = 0.0
                for connection in self._connections:
                    connection.loses_reply = connection.awaits_reply = False
            case _:
                raise ValueError(f"no such command: {line}")
        for connection in self._connections:
            self._watch(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            server = socket.socket()
            for each in (client, server):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Until it is connected, it is a socket that takes nothing; one that is refused says so when it is read.
            server.connect_ex((HOST, self._to))
            connection = Connection(client, server)
            self._connections.add(connection)
            self._watch(connection)

    def _turn(self, connection: Connection, at: object, events: int) -> None:
        """One of the connection's sockets can be read or written. Another's turn may have closed it meanwhile."""
        to_server, to_client = connection.to_server, connection.to_client
        leaving, arriving = (to_server, to_client) if at is connection.client else (to_client, to_server)
        if events & EVENT_WRITE and connection.is_open:
            self._deliver(connection, arriving)
        if events & EVENT_READ and connection.is_open:
            self._read(connection, leaving)
        if connection.is_open:
            self._watch(connection)

    def _read(self, connection: Connection, direction: Direction) -> None:
        try:
            data = direction.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._reset(connection)
            return
        if direction is connection.to_client and connection.awaits_reply:
            self._reset(connection)
            return
        direction.under_way.append((time.monotonic() + self._delay, data))
        direction.size += len(data)
        direction.ended = not data
        self._deliver(connection, direction)

    def _deliver(self, connection: Connection, direction: Direction) -> None:
        """Pass on what is due, as much as the other side takes."""
        direction.is_stuck = False
        now = time.monotonic()
        while direction.under_way and direction.under_way[0][0] <= now:
            due, data = direction.under_way[0]
            if not data:
                self._close(connection)
                return
            try:
                sent = direction.sink.send(data)
            except BlockingIOError:
                direction.is_stuck = True
                return
            except OSError:
                self._reset(connection)
                return
            direction.size -= sent
            if sent < len(data):
                direction.under_way[0] = (due, data[sent:])
            else:
                direction.under_way.popleft()
            if direction is connection.to_server:
                connection.awaits_reply = connection.loses_reply

    def _deliver_what_is_due(self) -> float | None:
        """Returns the seconds until more will be due, None if there is nothing to wait for."""
        if self._holds:
            return None
        for connection, direction in list(self._waiting()):
            if connection.is_open:
                self._deliver(connection, direction)
                self._watch(connection)
        moments = [direction.under_way[0][0] for _, direction in self._waiting()]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _waiting(self) -> Iterator[tuple[Connection, Direction]]:
        """The directions that wait for a moment, not for a socket."""
        for connection in self._connections:
            for direction in (connection.to_server, connection.to_client):
                if direction.under_way and not direction.is_stuck:
                    yield connection, direction

    def _watch(self, connection: Connection) -> None:
        """Register each of the connection's sockets for what it is needed for now."""
        self._register(connection, connection.client, connection.to_server, connection.to_client)
        self._register(connection, connection.server, connection.to_client, connection.to_server)

    def _register(self, connection: Connection, sock: socket.socket, leaving: Direction, arriving: Direction) -> None:
        events = 0
        if connection.is_open and not self._holds:
            if not leaving.ended and leaving.size < LIMIT_BYTES:
                events |= EVENT_READ
            if arriving.is_stuck:
                events |= EVENT_WRITE
        before = connection.watched[sock]
        if events == before:
            return
        connection.watched[sock] = events
        if not events:
            self._selector.unregister(sock)
        elif not before:
            self._selector.register(sock, events, connection)
        else:
            self._selector.modify(sock, events, connection)

    def _reset(self, connection: Connection) -> None:
        """Close both sides so that each sees a reset (RST)."""
        for sock in (connection.client, connection.server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        connection.is_open = False
        self._connections.remove(connection)
        self._watch(connection)
        connection.client.close()
        connection.server.close()


if __name__ == "__main__":
    relay = Relay(int(sys.argv[1]))
    print(relay.port, flush=True)
    relay.serve()
