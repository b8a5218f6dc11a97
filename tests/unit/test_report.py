"""The report at the end of a run."""

from __future__ import annotations

import io
import json

from rich.console import Console

from scripts.report import Report
from scripts.tally import Counters
from tests.unit.statuses import NOW, a_status, a_worker


def shown(report: Report) -> str:
    console = Console(file=io.StringIO(), highlight=False, width=100)
    report.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_complete_run_is_summed_up() -> None:
    counters = Counters(
        computed=3204, duplicates=1204, recomputed=1204, retried=5, chunks=33, seconds=61.5, first=NOW - 10, last=NOW - 2
    )
    report = Report.from_status(a_status(2000, counters=counters, workers=(a_worker("w1"), a_worker("w2", "gone"))))
    assert (report.state, report.total, report.done, report.dead, report.missing) == ("complete", 2000, 2000, 0, 0)
    assert (report.recomputed, report.workers, report.seconds, report.parameters_per_second) == (1204, 2, 8.0, 250.0)
    lines = [" ".join(line.split()) for line in shown(report).splitlines()]
    assert lines[:2] == [
        "run-1 module:function over grid a=0:1:40 x b=0:1:50",
        "complete: 2,000 of 2,000 parameters in 8.0 s, 250 a second",
    ]
    assert "duplicates 1,204 0 disagree" in lines
    assert "recomputed 1,204 60.2% of the parameters: the cost of failure" in lines
    assert "missing 0" in lines
    assert not any(line.startswith(("recovery", "refused")) for line in lines)


def test_what_went_wrong_is_shown() -> None:
    status = a_status(1990, 3, counters=Counters(refused=2, first=NOW - 1, last=NOW), changed_code=[[0, 99, "f00"]])
    report = Report.from_status(status, recovery_seconds=1.25)
    text = " ".join(shown(report).split())
    assert "dead 3 failed their last attempt" in text
    assert "missing 7" in text
    assert "refused 2" in text
    assert "recovery 1.2 s" in text
    assert "parameters 0-99 were computed by other code, f00" in text


def test_the_json_says_the_same() -> None:
    report = Report.from_status(a_status(2000))
    data = json.loads(report.to_json())
    assert (data["run"], data["done"], data["recovery_seconds"], data["changed_code"]) == ("run-1", 2000, None, [])
    assert Report(**data) == report


def test_a_run_that_took_no_time_has_no_rate() -> None:
    report = Report.from_status(a_status(2000, counters=Counters()))
    assert report.parameters_per_second == 0.0
    assert "a second" not in shown(report)


def test_no_colour_when_the_output_is_no_terminal() -> None:
    assert "\x1b" not in shown(Report.from_status(a_status(1000, 5)))
