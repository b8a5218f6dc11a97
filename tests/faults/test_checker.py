"""The judge of a run under faults can find fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import DEAD, Call, Evidence, judge

CLEAN = Evidence(
    values={0: 0, 1: 1},
    dead=[2],
    calls=[Call(0, 1), Call(1, 1), Call(2, 1), Call(2, 2)],
    counted={"done": 2, "dead": 1},
)


def expected(index: int) -> object:
    return DEAD if index == 2 else index


def test_a_run_without_fault_is_clean() -> None:
    verdict = judge(3, expected, CLEAN, max_attempts=2)
    assert verdict.is_clean
    assert verdict.recomputed == 0


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda it: replace(it, values={0: 0}, counted={"done": 1, "dead": 1}), "lost: 1"),
        (lambda it: replace(it, values={0: 0, 1: 7}), "wrong: 1"),
        (lambda it: replace(it, values={0: 0}, dead=[1, 2], counted={"done": 1, "dead": 2}), "wrong: 1"),
        (lambda it: replace(it, values={**it.values, 2: 2}, dead=[], counted={"done": 3, "dead": 0}), "wrong: 2"),
        (lambda it: replace(it, values={**it.values, 3: 3}, counted={"done": 3, "dead": 1}), "wrong: 3"),
        (lambda it: replace(it, dead=[1, 2], counted={"done": 2, "dead": 2}), "both: 1"),
        (lambda it: replace(it, calls=[*it.calls, Call(2, 3)]), "over limit: 2"),
        (lambda it: replace(it, counted={"done": 3, "dead": 1}), "miscounted: done is 3, the ledger's file has 2"),
    ],
)
def test_what_must_not_be_is_found(change: Callable[[Evidence], Evidence], found: str) -> None:
    assert found in judge(3, expected, change(CLEAN), max_attempts=2).sentences()


def test_an_attempt_that_was_called_again_is_reported_and_allowed() -> None:
    verdict = judge(3, expected, replace(CLEAN, calls=[*CLEAN.calls, Call(0, 1), Call(0, 1)]), max_attempts=2)
    assert verdict.recomputed == 2
    assert verdict.is_clean
