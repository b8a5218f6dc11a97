"""The ledger over HTTP, and the commands that ask it, against a real server on a free port."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from scripts import dead, results
from scripts.api import Desk, Server, application
from tests.unit.ledgers import Books, failed, result, settings_of
from worker.errors import SettingsError
from worker.program import exit_status


class Service:
    """A server over a small ledger file, and its desk."""

    def __init__(self, books: Books, desk: Desk, server: Server) -> None:
        self.books = books
        self.desk = desk
        self.url = server.url
        self.folder = books.path.parent


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    desk = Desk()
    with (
        closing(Books(tmp_path)) as books,
        Server(application(desk, books.path), settings_of(100, ledger_port=0)) as server,
    ):
        books.intake.take([result(((2, 4), (0, 1))[::-1], ["0", '{"a": "x, y"}', "3"])])
        books.intake.take([result((), dead=failed(7, 9, error="ValueError: no\n  in task\u2028"))])
        desk.status = {"run": "test", "state": "running"}
        yield Service(books, desk, server)


def test_the_status_is_what_the_loop_last_said(service: Service) -> None:
    assert httpx.get(f"{service.url}/status").json() == {"run": "test", "state": "running"}


def test_health_is_a_word(service: Service) -> None:
    answer = httpx.get(f"{service.url}/healthz")
    assert (answer.status_code, answer.text) == (503, "starting\n")
    service.desk.is_ready = True
    answer = httpx.get(f"{service.url}/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    service.desk.problem = "waiting for the broker: it is away"
    assert httpx.get(f"{service.url}/healthz").status_code == 503


def test_results_are_csv_in_the_order_of_the_indices(service: Service) -> None:
    answer = httpx.get(f"{service.url}/results.csv")
    assert answer.text == 'parameter,value\n0,0\n2,"{""a"": ""x, y""}"\n3,3\n'
    assert answer.headers["content-disposition"] == 'attachment; filename="test.csv"'


def test_dead_parameters_are_csv_with_their_whole_errors(service: Service) -> None:
    rows = list(csv.reader(io.StringIO(httpx.get(f"{service.url}/dead.csv").text, newline="")))
    assert rows[:2] == [["parameter", "error", "attempts"], ["7", "ValueError: no\n  in task\u2028", "4"]]


def test_settled_counts_the_parameters_of_a_range_that_have_an_outcome(service: Service) -> None:
    answer = httpx.get(f"{service.url}/settled?first=1&last=8")  # the values of 2 and 3, and 7 dead
    assert answer.json() == {"settled": 3}
    assert httpx.get(f"{service.url}/settled?first=1").status_code == 400
    for number in (str(10**18), "9" * 5_000, "٣", "²"):
        assert httpx.get(f"{service.url}/settled", params={"first": "1", "last": number}).status_code == 400


def test_a_ledger_file_that_cannot_be_read_now_is_a_sentence_and_not_an_error_of_the_server(service: Service) -> None:
    service.books.path.rename(service.folder / "moved")
    answer = httpx.get(f"{service.url}/events")
    assert (answer.status_code, "cannot be read" in answer.text) == (503, True)


def test_events_can_be_followed(service: Service) -> None:
    (event,) = httpx.get(f"{service.url}/events").json()
    assert (event["kind"], event["text"]) == ("worker", "w1 on n1 joined")
    assert httpx.get(f"{service.url}/events", params={"after": event["id"]}).json() == []
    assert httpx.get(f"{service.url}/events", params={"after": "x"}).status_code == 400


def test_results_printed_from_the_folder_and_over_http_are_the_same(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--ledger", service.url]) == 0
    over_http = capsys.readouterr().out
    assert results.main(["--output", str(service.folder), "--to", str(service.folder / "copy.csv")]) == 0
    assert (service.folder / "copy.csv").read_text() == over_http != ""


def test_dead_parameters_are_listed_by_the_first_line_of_their_error(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in (["--ledger", service.url], ["--output", str(service.folder)]):
        assert dead.main(["list", *source]) == 0
        assert capsys.readouterr().out == "7: 4 attempts, ValueError: no\n9: 4 attempts, ValueError: no\n"


def test_a_retry_over_http_is_handed_to_the_loop(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[list[int] | None] = []

    def loop() -> None:
        for _ in range(2):
            request = service.desk.requests.get()
            asked.append(request.indices)
            request.answer.set_result(2 if request.indices is None else len(request.indices))

    thread = threading.Thread(target=loop)
    thread.start()
    assert dead.main(["retry", "7", "--ledger", service.url]) == 0
    assert dead.main(["retry", "--ledger", service.url]) == 0
    thread.join()
    assert asked == [[7], None]
    assert capsys.readouterr().out == "1 dead parameter is missing again\n2 dead parameters are missing again\n"


def test_a_retry_in_a_folder_needs_its_ledger_to_be_off(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match="in the hands of another ledger"):
        dead.main(["retry", "--output", str(service.folder)])
    service.books.close()
    assert dead.main(["retry", "9", "--output", str(service.folder)]) == 0
    assert dead.main(["list", "--output", str(service.folder)]) == 0
    assert capsys.readouterr().out.startswith("1 dead parameter is missing again\n7: ")


def test_a_port_that_is_taken_is_a_sentence(service: Service) -> None:
    port = int(service.url.rpartition(":")[2])
    with pytest.raises(SettingsError, match=f"LEDGER_PORT={port} cannot be listened on: Address already in use; name another"):
        Server(application(Desk(), service.books.path), settings_of(100, ledger_port=port))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ledger", "http://127.0.0.1:9"], "no ledger answers at http://127.0.0.1:9"),
        (["--ledger", "ledger:80"], "is not a URL"),
        (["--output", "/nowhere"], "/nowhere/ledger.sqlite cannot be read"),
    ],
)
def test_a_ledger_that_cannot_be_reached_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(lambda: results.main(arguments)) == 1
    assert sentence in capsys.readouterr().err
