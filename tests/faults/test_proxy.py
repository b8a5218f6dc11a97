"""The proxy that the trials put between a program and its broker: the tests hold both ends of its connections."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.embedded import RedisServer
from tests.contract.steps import killed
from tests.faults.proxy import Proxy
from tests.faults.relay import LIMIT_BYTES
from tests.waiting import PATIENCE

Ends = tuple[socket.socket, socket.socket]
"""A client's socket, and the server's for the same connection."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def listener(stack: ExitStack) -> socket.socket:
    """The server's, under the hand of the test."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    server.settimeout(PATIENCE)
    return server


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[Proxy]:
    with Proxy(port(listener)) as started:
        yield started


@pytest.fixture
def join(proxy: Proxy, listener: socket.socket, stack: ExitStack) -> Callable[[], Ends]:
    """Opens a connection through the proxy."""

    def joined() -> Ends:
        client = stack.enter_context(connected(proxy))
        server, _ = listener.accept()
        server.settimeout(PATIENCE)
        return client, stack.enter_context(server)

    return joined


@pytest.fixture
def client(redis_server: RedisServer, stack: ExitStack) -> tuple[Proxy, redis.Redis]:
    """A Redis client behind a proxy. It repeats nothing, so an error is told as it comes."""
    proxy = stack.enter_context(Proxy(redis_server.port))
    patient = stack.enter_context(redis.Redis(port=proxy.port, socket_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)))
    return proxy, patient


def test_bytes_pass_in_both_directions(join: Callable[[], Ends]) -> None:
    client, server = join()

    client.sendall(b"question")
    assert received(server, 8) == b"question"
    server.sendall(b"answer")
    assert received(client, 6) == b"answer"


def test_a_large_payload_comes_back_as_it_was(join: Callable[[], Ends]) -> None:
    client, server = join()
    payload = bytes(range(256)) * (4 * LIMIT_BYTES // 256)

    echo = threading.Thread(target=lambda: server.sendall(received(server, len(payload))))
    echo.start()
    client.sendall(payload)
    assert received(client, len(payload)) == payload
    echo.join()


def test_a_receiver_that_does_not_read_slows_the_sender_down_and_no_other_connection(join: Callable[[], Ends]) -> None:
    slow, quick = join(), join()
    slow[0].settimeout(0.5)

    def send_more_than_proxy_and_kernel_take() -> None:
        for _ in range(64):
            slow[0].send(bytes(LIMIT_BYTES))

    with pytest.raises(TimeoutError):
        send_more_than_proxy_and_kernel_take()
    assert_joined(*quick)


def test_what_was_sent_before_the_end_arrives_before_the_end(join: Callable[[], Ends]) -> None:
    client, server = join()

    client.sendall(b"last words")
    client.close()

    assert received(server, 11) == b"last words"
    assert server.recv(1) == b""


def test_an_end_at_the_server_is_an_end_at_the_client(join: Callable[[], Ends]) -> None:
    client, server = join()

    server.close()

    assert client.recv(1) == b""


def test_a_cut_resets_both_sides_and_the_next_connection_works(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()

    proxy.cut()

    assert_reset(client)
    assert_reset(server)
    assert_joined(*join())


def test_a_cut_resets_a_client_that_nobody_has_accepted_yet(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.cut()
        assert_reset(client)


def test_nothing_passes_a_hold_until_it_is_restored(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()

    proxy.hold()
    client.sendall(b"question")
    server.sendall(b"answer")
    proxy.hold()  # when it answers, all that came before is handled
    assert_silent(client, server)
    proxy.restore()

    assert received(server, 8) == b"question"
    assert received(client, 6) == b"answer"


def test_nobody_is_told_that_the_other_side_of_a_hold_is_gone(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()

    proxy.hold()
    client.sendall(b"late")
    client.close()
    proxy.hold()  # when it answers, all that came before is handled
    assert_silent(server)
    proxy.restore()

    assert received(server, 5) == b"late"
    assert server.recv(1) == b""


def test_a_connection_opened_during_a_hold_hears_nothing_until_it_is_restored(proxy: Proxy, join: Callable[[], Ends]) -> None:
    proxy.hold()
    client, server = join()
    client.sendall(b"question")
    proxy.hold()  # when it answers, all that came before is handled
    assert_silent(client, server)
    proxy.restore()

    assert received(server, 8) == b"question"


def test_a_delay_lets_both_directions_wait_that_long(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()
    proxy.delay(0.2)

    sent = time.monotonic()
    assert_joined(client, server)

    assert time.monotonic() - sent >= 0.4


def test_what_is_under_way_slowly_is_not_overtaken(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()

    for number in range(20):
        proxy.delay(0.2 - number * 0.01)
        client.sendall(bytes([number]))
    proxy.restore()
    client.sendall(bytes([20]))
    client.close()

    assert received(server, 22) == bytes(range(21))


def test_a_delay_of_one_connection_is_not_that_of_a_later_one(proxy: Proxy, join: Callable[[], Ends]) -> None:
    slow = join()
    proxy.delay(10 * PATIENCE)
    slow[0].sendall(b"question")
    proxy.restore()

    assert_joined(*join())
    assert_silent(slow[1])


def test_what_is_under_way_slowly_does_not_pass_a_hold(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()
    proxy.delay(0.1)
    client.sendall(b"question")
    proxy.hold()

    server.settimeout(0.3)
    with pytest.raises(TimeoutError):
        server.recv(1)
    server.settimeout(PATIENCE)
    proxy.restore()

    assert received(server, 8) == b"question"


def test_a_lost_reply_is_that_to_what_is_sent_next(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()
    client.sendall(b"first")
    assert received(server, 5) == b"first"

    proxy.lose_reply()
    server.sendall(b"answer to the first")
    assert received(client, 19) == b"answer to the first"
    client.sendall(b"second")
    assert received(server, 6) == b"second"
    server.sendall(b"answer to the second")

    assert_reset(client)
    assert_reset(server)
    assert_joined(*join())


def test_a_reply_not_lost_yet_is_not_lost_after_a_restore(proxy: Proxy, join: Callable[[], Ends]) -> None:
    client, server = join()

    proxy.lose_reply()
    proxy.restore()

    assert_joined(client, server)


def test_a_client_of_a_server_that_is_away_is_reset_until_it_is_back(proxy: Proxy, listener: socket.socket) -> None:
    def connect_and_receive() -> None:
        with connected(proxy) as client:
            client.recv(1)

    address = listener.getsockname()
    listener.close()
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            connect_and_receive()

    with socket.create_server(address) as back, connected(proxy) as client:
        server, _ = back.accept()
        with server:
            assert_joined(client, server)


def test_redis_works_through_it(client: tuple[Proxy, redis.Redis]) -> None:
    _, behind = client
    value = bytes(range(256)) * 16 * 1024

    behind.set("value", value)
    assert behind.get("value") == value
    with behind.pipeline(transaction=False) as pipeline:
        for _ in range(10_000):
            pipeline.echo("word")
        assert pipeline.execute() == [b"word"] * 10_000


def test_redis_carries_out_the_command_whose_reply_is_lost(client: tuple[Proxy, redis.Redis], redis_server: RedisServer) -> None:
    proxy, behind = client
    behind.delete("calls")
    behind.incr("calls")

    proxy.lose_reply()
    with pytest.raises(redis.ConnectionError):
        behind.incr("calls")

    with closing(redis.Redis.from_url(redis_server.url)) as direct:
        assert direct.get("calls") == b"2"
    assert behind.incr("calls") == 3


def test_a_redis_that_comes_back_is_reached_through_it(client: tuple[Proxy, redis.Redis], redis_server: RedisServer) -> None:
    _, behind = client
    assert behind.ping()

    with killed(redis_server):
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                behind.ping()

    assert behind.ping()


def test_it_ends_with_the_process_that_started_it(listener: socket.socket) -> None:
    program = (
        "import sys, time\n"
        "from tests.faults.proxy import Proxy\n"
        "with Proxy(int(sys.argv[1])) as proxy:\n"
        "    print(proxy.port, flush=True)\n"
        "    time.sleep(3600)\n"
    )
    command = [sys.executable, "-c", program, str(port(listener))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as owner:
        assert owner.stdout is not None
        with socket.create_connection(("127.0.0.1", int(owner.stdout.readline())), PATIENCE) as client:
            owner.kill()
            assert client.recv(1) == b""


def port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)


def received(sock: socket.socket, size: int) -> bytes:
    """The next `size` bytes, or fewer if the connection ends before."""
    parts = []
    while size and (part := sock.recv(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def assert_joined(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"question")
    assert received(server, 8) == b"question"
    server.sendall(b"answer")
    assert received(client, 6) == b"answer"


def assert_silent(*ends: socket.socket) -> None:
    """Nothing arrived, and no connection is closed."""
    for end in ends:
        end.setblocking(False)
        with pytest.raises(BlockingIOError):
            end.recv(1)
        end.settimeout(PATIENCE)


def assert_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
