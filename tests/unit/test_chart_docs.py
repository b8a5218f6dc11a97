"""The chart's README, schema and values name the same values, and a difference is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.chart_docs import CHART, problems, read


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    for name in ("values.yaml", "values.schema.json", "README.md"):
        shutil.copy(CHART / name, tmp_path)
    return tmp_path


def test_the_charts_readme_schema_and_values_agree() -> None:
    assert problems() == []


def test_a_value_that_the_schema_does_not_know_is_noticed(chart: Path) -> None:
    values = chart / "values.yaml"
    values.write_text(values.read_text() + "\n# How fast.\nspeed: 3\n")
    assert problems(chart) == [
        "speed is in values.yaml and not in values.schema.json",
        "README.md is not what values.yaml says: run python -m scripts.chart_docs",
    ]


def test_a_value_without_comment_is_noticed(chart: Path) -> None:
    values = chart / "values.yaml"
    values.write_text(values.read_text().replace("  # How many.\n", ""))
    assert "worker.replicas is in values.schema.json and not, with a comment, in values.yaml" in problems(chart)


def test_an_open_schema_is_noticed(chart: Path) -> None:
    schema = chart / "values.schema.json"
    schema.write_text(schema.read_text().replace('"additionalProperties": false', '"additionalProperties": true', 1))
    assert problems(chart) == ["values.schema.json is open at the top"]


def test_a_value_without_comments_below_it_is_read_as_a_whole() -> None:
    (group,) = read(
        "# A group.\ngroup:\n  # A map.\n  # On two lines.\n  map:\n    a: 1\n    b: {c: 2}\n  # A list.\n  list: []\n"
    )
    assert [(value.path, value.comment, value.default) for value in group.walk()] == [
        ("group", "A group.", ""),
        ("group.map", "A map. On two lines.", "a: 1 b: {c: 2}"),
        ("group.list", "A list.", "[]"),
    ]
