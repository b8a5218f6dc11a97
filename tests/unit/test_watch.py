"""The terminal view, fed with statuses; and its loop, against a ledger that comes and goes."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

from scripts.embedded import free_port
from scripts.watch import LedgerAway, Watch, fetch, follow, main, plain, screen
from tests.unit.statuses import a_status, a_worker, an_event


class Output:
    """A console whose text can be looked at, and a clock that is moved by hand."""

    def __init__(self, *, terminal: bool) -> None:
        self.file = io.StringIO()
        self.now = 0.0
        self.watch = Watch(Console(file=self.file, force_terminal=terminal, width=110, height=30), clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        """Without the time of day at the beginning."""
        return [line[10:] for line in self.file.getvalue().splitlines()]


def drawn(status: dict[str, Any], height: int = 30) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(screen(status, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestPlain:
    def test_a_line_tells_progress_and_the_five_counters(self) -> None:
        assert plain(a_status(500, 2)) == (
            "running  25.1%  500/2,000 done  150/s  10.0 s left  ready 12  in flight 3  delayed 1  dead 2  retried 0"
        )

    def test_the_same_status_is_told_once(self) -> None:
        output = Output(terminal=False)
        for output.now in (0.0, 5.0, 10.0):
            output.watch.update(a_status(500))
        output.watch.close()
        assert len(output.lines) == 1

    def test_lines_come_at_most_every_second_and_the_last_one_comes(self) -> None:
        output = Output(terminal=False)
        for done in range(0, 2001, 100):
            output.now += 0.125
            output.watch.update(a_status(done))
        output.watch.close()
        assert [line.split()[:2] for line in output.lines] == [
            ["running", "0.0%"],
            ["running", "40.0%"],
            ["running", "80.0%"],
            ["complete", "100.0%"],
        ]

    def test_a_problem_is_told(self) -> None:
        assert plain(a_status(500, problem="waiting for the broker: away")).endswith("waiting for the broker: away")

    def test_nearly_all_is_not_100_percent(self) -> None:
        assert "99.9%" in plain(a_status(1999))

    def test_what_the_broker_does_not_tell_is_a_dash(self) -> None:
        assert "in flight –" in plain({**a_status(1), "in_flight": None})


class TestEvents:
    def test_each_event_of_the_ledger_is_told_once(self) -> None:
        output = Output(terminal=False)
        output.watch.update(a_status(events=[an_event(1, "one")]))
        output.watch.update(a_status(events=[an_event(1, "one"), an_event(2, "two")]))
        output.watch.say("three")
        assert [line for line in output.lines if not line.startswith("running")] == ["one", "two", "three"]


class TestScreen:
    def test_the_screen_shows_the_workers_that_are_there(self) -> None:
        workers = (a_worker("worker-1"), a_worker("worker-2", "gone"), a_worker("worker-3", "silent"))
        text = drawn(a_status(500, workers=workers))
        assert "worker-1" in text
        assert "worker-3" in text
        assert "worker-2" not in text
        assert "1 gone" in text

    def test_the_screen_fits_the_terminal(self) -> None:
        workers = tuple(a_worker(f"worker-{number}") for number in range(100))
        text = drawn(a_status(500, workers=workers, problem="waiting"), height=24)
        assert len(text.splitlines()) <= 24
        assert "86 more" in text

    def test_a_terminal_gets_a_screen_that_goes_away_and_events_that_stay(self) -> None:
        output = Output(terminal=True)
        with output.watch as watch:
            watch.update(a_status(500, workers=(a_worker("worker-1"),)))
            watch.say("worker-1 is killed")
            watch.update(a_status(600))
        assert "\x1b[?25l" in output.file.getvalue()
        assert output.file.getvalue().rstrip().endswith("\x1b[2K")
        assert "worker-1 is killed" in output.file.getvalue()


class Ledger:
    """An HTTP server that answers the next of `statuses` each time; the last one for ever."""

    def __init__(self, statuses: list[dict[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(statuses.pop(0) if len(statuses) > 1 else statuses[0]).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._handler = Handler
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger([{}, a_status(500), a_status(1999, 1)])
    yield ledger
    ledger.stop()


def test_a_ledger_that_is_away_is_waited_for_and_the_end_is_the_end(ledger: Ledger) -> None:
    output = Output(terminal=False)
    moments = iter([lambda: None, ledger.start, lambda: None, ledger.stop, ledger.start])

    status = follow(ledger.url, output.watch, sleep=lambda _seconds: next(moments)())

    assert status["state"] == "complete"
    output.watch.close()
    kinds = [line.split(" at ")[0].split("  ")[0] for line in output.lines]
    assert kinds == ["the ledger", "the ledger answers", "running", "the ledger", "the ledger answers", "complete"]


def test_a_ledger_that_is_not_there_is_named_with_the_remedy(ledger: Ledger) -> None:
    with pytest.raises(LedgerAway, match=rf"{ledger.url} does not answer \(.*refused\); set LEDGER_URL"):
        fetch(ledger.url)


def test_once_prints_one_line_and_ends(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.start()
    with pytest.raises(LedgerAway, match="is starting"):
        main(["--once", ledger.url])
    assert main(["--once", ledger.url]) == 0
    assert capsys.readouterr().out.startswith("running  25.0%")


def test_the_end_is_the_report_and_dead_parameters_show_in_the_exit_status(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.start()
    assert main([ledger.url]) == 3
    assert "complete: 1,999 of 2,000 parameters" in capsys.readouterr().out
