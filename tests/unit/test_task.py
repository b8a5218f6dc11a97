"""Finding the user's function, and what a function may know."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from worker.errors import TaskError
from worker.task import Context, load, stamp

SOURCE = """
def plain(parameter): return parameter
def contextual(parameter, context): return context.index
def optional(parameter, context=None): return context.index
def with_default(parameter, precision=3): return parameter
def batch(parameters): return list(parameters)
batch.whole_chunk = True
number = 7
def setup(): pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ttg_test_task.py").write_text(SOURCE)
    (tmp_path / "ttg_broken_task.py").write_text("import nothing_of_that_name\n")
    monkeypatch.delitem(sys.modules, "ttg_test_task", raising=False)  # of an earlier test's folder
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_task_is_found_and_described() -> None:
    assert load("ttg_test_task:plain").function(3) == 3
    assert not load("ttg_test_task:plain").takes_context
    assert load("ttg_test_task:contextual").takes_context
    assert load("ttg_test_task:optional").takes_context
    assert not load("ttg_test_task:with_default").takes_context
    assert load("ttg_test_task:batch").whole_chunk
    assert load("ttg_test_task:plain").setup is not None
    assert not load("math:sqrt").takes_context


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ttg_test_task", "is not of the form module:function"),
        (":f", "is not of the form module:function"),
        ("ttg_no_such_module:f", "does not import from"),
        ("ttg_broken_task:f", "No module named 'nothing_of_that_name'"),
        ("ttg_test_task:absent", "has no absent"),
        ("ttg_test_task:number", "number is a int, not a function"),
    ],
)
def test_a_task_that_cannot_be_used_is_named_with_its_remedy(name: str, sentence: str) -> None:
    with pytest.raises(TaskError) as caught:
        load(name)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_stamp_changes_with_the_source_the_seed_and_the_version_and_with_nothing_else(folder: Path) -> None:
    name = "ttg_test_task:plain"
    first = stamp(name, 0, "")
    assert stamp(name, 0, "") == first
    (folder / "ttg_test_task.py").write_text(SOURCE + "\n# changed\n")
    assert len({first, stamp(name, 0, ""), stamp(name, 1, ""), stamp(name, 0, "v2"), stamp("ttg_test_task:optional", 0, "")}) == 5


def test_the_stamp_does_not_run_the_module(folder: Path) -> None:
    assert len(stamp("ttg_broken_task:f", 0, "")) == 16
    with pytest.raises(TaskError, match="there is no module ttg_absent_task"):
        stamp("ttg_absent_task:f", 0, "")


def test_a_seed_depends_on_the_runs_seed_and_the_index_alone() -> None:
    assert Context(5, 1, 0).seed == Context(5, 3, 0).seed
    assert len({Context(index, 1, seed).seed for index in range(100) for seed in range(3)}) == 300
    assert 0 <= Context(5, 1, 0).seed < 2**64
