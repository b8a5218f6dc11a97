"""The ledger over HTTP: what it knows, and the results, while it goes on.

The server runs in a thread of its own. It shares nothing with the ledger's loop but a `Desk`; whatever is large it reads from
the SQLite file, on a connection of its own.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from scripts import reading
from worker.config import Settings
from worker.errors import SettingsError, TtgError

RETRY_SECONDS = 30.0
"""How long a request to retry dead parameters waits for the ledger's loop, which may be waiting itself."""


@dataclass
class RetryDead:
    """Asks the loop to try dead parameters again; `indices` None: all of them. The answer is how many they were."""

    indices: list[int] | None
    answer: Future[int] = field(default_factory=Future)


class Desk:
    """What passes between the ledger's loop and the server's thread.

    Its attributes are replaced as a whole by the loop, never changed, so that reading them needs no lock.

    Attributes:
        status: what `/status` answers.
        problem: what stands in the loop's way at this moment; empty: nothing.
        is_ready: whether the broker was reached.
        requests: for the loop.
    """

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        self.problem = ""
        self.is_ready = False
        self.requests: SimpleQueue[RetryDead] = SimpleQueue()


def application(desk: Desk, path: Path) -> Starlette:
    """The routes, over the file `path`."""

    def status(_request: Request) -> Response:
        return JSONResponse(desk.status)

    def healthz(_request: Request) -> Response:
        problem = desk.problem or ("" if desk.is_ready else "starting")
        return PlainTextResponse(f"{problem or 'ok'}\n", status_code=503 if problem else 200)

    def results(_request: Request) -> Response:
        return _csv(path, reading.RESULTS, f"{desk.status.get('run', 'results')}.csv")

    def dead(_request: Request) -> Response:
        return _csv(path, reading.DEAD_PARAMETERS, f"{desk.status.get('run', 'run')}-dead.csv")

    def settled(request: Request) -> Response:
        first, last = (_integer(request.query_params.get(name, ""), name) for name in ("first", "last"))
        with reading.opened(path) as connection:
            return JSONResponse({"settled": reading.settled(connection, first, last)})

    def events(request: Request) -> Response:
        after = _integer(request.query_params.get("after", "0"), "after")
        with reading.opened(path) as connection:
            return JSONResponse(reading.events(connection, after=after))

    def retry_dead(request: Request) -> Response:
        given = request.query_params.getlist("parameter")
        asked = RetryDead([_integer(text, "parameter") for text in given] or None)
        desk.requests.put(asked)
        try:
            return JSONResponse({"retried": asked.answer.result(RETRY_SECONDS)})
        except TimeoutError:
            asked.answer.cancel()
            raise HTTPException(503, f"not now, try again later: {desk.problem or 'the ledger is busy'}") from None

    def not_now(_request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"{error}\n", status_code=503)

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/results.csv", results),
            Route("/dead.csv", dead),
            Route("/settled", settled),
            Route("/events", events),
            Route("/healthz", healthz),
            Route("/dead/retry", retry_dead, methods=["POST"]),
        ],
        exception_handlers={TtgError: not_now},
    )


class Server:
    """Serves an application from a thread, until the `with` block ends.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    def __init__(self, app: Starlette, settings: Settings) -> None:
        host, port = settings.ledger_host, settings.ledger_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)  # without the address again
            raise SettingsError(
                f"LEDGER_HOST={host} LEDGER_PORT={port} cannot be listened on: {reason}; name another, or LEDGER_PORT=0"
            ) from None
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=2)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _csv(path: Path, table: reading.Table, name: str) -> Response:
    def lines() -> Iterator[str]:
        with reading.opened(path) as connection:
            yield from reading.csv_lines(connection, table)

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


def _integer(text: str, name: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):  # SQLite's integers have one digit more
        raise HTTPException(400, f"{name}={text:.200} is not a whole number of at most 18 digits")
    return int(text)
