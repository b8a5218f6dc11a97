"""Whatever is asked of the ledger over HTTP: an answer, never an error of its own; and the next one gets theirs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from queue import SimpleQueue
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import urlopen

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from scripts.api import Desk, RetryDead, Server, application
from tests.unit.ledgers import Books, failed, result, settings_of

PATHS = ["/status", "/results.csv", "/dead.csv", "/settled", "/events", "/healthz", "/dead/retry", "/", "/docs", "//", "/status/"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "FUZZ"]
KEYS = ["first", "last", "after", "parameter", "x", ""]
NUMBERS = [
    *("0", "1", "99", "-1", "+1", " 1", "1_0", "1.0", "1e3", "0x1", "²", "٣", "٣" * 20, "\0", "", "é" * 1_000, "nan", "True"),
    *(str(2**63 - 1), str(2**63), str(-(2**63) - 1), "9" * 18, "9" * 19, "9" * 4_300, "9" * 5_000, "0" * 5_000),
]


class Loop(SimpleQueue[RetryDead]):
    """Stands in for the ledger's loop: it answers at once."""

    def put(self, item: RetryDead, block: bool = True, timeout: float | None = None) -> None:
        item.answer.set_result(len(item.indices or ()))


@pytest.fixture(scope="module")
def desk() -> Desk:
    desk = Desk()
    desk.requests = Loop()
    desk.status = {"run": "test"}
    desk.is_ready = True
    return desk


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with closing(Books(tmp_path_factory.mktemp("ledger"))) as books:
        books.intake.take([result(((0, 10),), dead=failed(20))])
        yield books


@pytest.fixture(scope="module")
def app(desk: Desk, books: Books) -> Starlette:
    return application(desk, books.path)


@pytest.fixture(scope="module")
def server(app: Starlette) -> Iterator[Server]:
    with Server(app, settings_of(100, ledger_port=0)) as server:
        yield server


def queries() -> st.SearchStrategy[str]:
    proper = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(NUMBERS) | st.text(max_size=5)), max_size=4).map(
        lambda pairs: urlencode(pairs, errors="replace")
    )
    return proper | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=20)


def ask(app: Starlette, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
    """One request, without a server that would make an answer of an exception."""

    async def request() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.request(method, f"http://ledger{path}?{query}", headers=headers, content=body)

    answer = asyncio.run(request())
    assert answer.status_code in (200, 307, 400, 404, 405)
    if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
        assert method == "HEAD" or json.loads(answer.text) is not None


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_a_nasty_number_is_counted_with_or_refused(app: Starlette, number: str) -> None:
    for query in ({"first": number, "last": "9"}, {"first": "0", "last": number}, {"after": number}, {"parameter": number}):
        for path in ("/settled", "/events"):
            ask(app, "GET", path, urlencode(query), {}, b"")
        ask(app, "POST", "/dead/retry", urlencode(query), {}, b"")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(METHODS),
    st.sampled_from(PATHS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10).map(lambda text: "/" + quote(text)),
    queries(),
    st.dictionaries(
        st.sampled_from(["Range", "Accept", "Content-Type", "X-Fuzz", "If-None-Match", "Accept-Encoding"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    ),
    st.binary(max_size=20),
)
def test_any_request_is_answered(
    app: Starlette, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    ask(app, method, path, query, headers, body)


LINES = [
    *(
        b"GET /status HTTP/1.1\r\n",
        b"POST /dead/retry HTTP/1.1\r\n",
        b"GET * HTTP/1.1\r\n",
        b"GET /\xff\0 HTTP/9.9\r\n",
        b"GET\r\n",
    ),
    *(b"Host: x\r\n", b"Host: x\r\nHost: y\r\n", b": \r\n", b"A\0: b\r\n", b" folded\r\n", b"X: " + b"y" * 100_000 + b"\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 9999999999999999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n"),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"5\r\nhello\r\n",
        b"ffffffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(LINES) | st.binary(max_size=10), max_size=8).map(b"".join), st.booleans())
def test_whatever_one_connection_sends_the_next_is_answered(server: Server, sent: bytes, is_closed: bool) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        with suppress(ConnectionError):  # it may have heard enough
            connection.sendall(sent)
            if is_closed:
                connection.shutdown(socket.SHUT_WR)
        with urlopen(f"{server.url}/status", timeout=30) as answer:
            assert json.load(answer) == {"run": "test"}
