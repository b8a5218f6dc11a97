"""The picture of a run over a grid, looked at pixel by pixel."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from scripts import reading

pytest.importorskip("matplotlib")

import matplotlib.image
import numpy as np
from matplotlib.colors import to_rgb

from scripts import picture
from scripts.picture import NoPicture, draw

Values = Mapping[int, str]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a ledger over a grid of 4 x 5, `a` from 0 to 3 and `b` from 0 to 4."""

    def write(values: Values, dead: Collection[int] = (), space: str = "grid a=0:3:4 x b=0:4:5") -> Path:
        path = tmp_path / "ledger.sqlite"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(resources.files("scripts").joinpath("ledger.sql").read_text())
            connection.execute(f"PRAGMA user_version = {reading.SCHEMA}")
            run = {"run": "r", "stamp": "s", "task": "module:height", "space": "d", "description": space, "total": 20}
            row: dict[str, Any] = {**run, "seed": 0, "created": 0.0}
            connection.execute(f"INSERT INTO run({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
            connection.executemany("INSERT INTO results VALUES (?, ?)", values.items())
            connection.executemany("INSERT INTO dead VALUES (?, 'why', 4)", [(index,) for index in dead])
        return path

    return write


def cells(path: Path) -> np.ndarray:
    """The colour at the middle of each cell, first index a, second b."""
    pixels = matplotlib.image.imread(path)[..., :3]
    height = pixels.shape[0]
    middle = picture.SIDE / np.array([8, 10])
    across = picture.MARGIN_LEFT + middle[0] * np.arange(1, 8, 2)
    up = height - picture.MARGIN_BOTTOM - middle[1] * np.arange(1, 10, 2)
    found: np.ndarray = pixels[np.ix_(up.astype(int), across.astype(int))].swapaxes(0, 1)
    return found


def is_colour(found: np.ndarray, colour: str) -> np.ndarray:
    same: np.ndarray = np.all(np.abs(found - to_rgb(colour)) < 0.01, axis=-1)
    return same


ALL: Values = {index: str(index - 7.5) for index in range(20)}


def test_a_complete_run_has_no_hole_anywhere(write: Write, tmp_path: Path) -> None:
    target = draw(write(ALL), tmp_path / "picture.png")
    pixels = matplotlib.image.imread(target)[..., :3]
    assert not is_colour(pixels, picture.MISSING).any()
    assert not is_colour(pixels, picture.DEAD).any()


def test_a_missing_and_a_dead_parameter_stand_out_where_they_belong(write: Write, tmp_path: Path) -> None:
    values = {index: text for index, text in ALL.items() if index not in (7, 18)}
    found = cells(draw(write(values, dead=[18]), tmp_path / "picture.png"))
    assert np.argwhere(is_colour(found, picture.MISSING)).tolist() == [[1, 2]]  # a=1, b=2
    assert np.argwhere(is_colour(found, picture.DEAD)).tolist() == [[3, 3]]


def test_values_below_zero_are_golden_and_above_zero_blue(write: Write, tmp_path: Path) -> None:
    found = cells(draw(write(ALL), tmp_path / "picture.png")).reshape(20, 3)
    red_over_blue = found[:, 0] > found[:, 2]
    assert red_over_blue.tolist() == [index < 8 for index in range(20)]


@pytest.mark.parametrize("values", [{}, {3: "1.5"}, dict.fromkeys(range(20), "2"), {0: "-1e-9", 1: "1e9"}])
def test_a_run_that_has_hardly_begun_can_be_drawn(write: Write, tmp_path: Path, values: Values) -> None:
    found = cells(draw(write(values), tmp_path / "picture.png"))
    assert is_colour(found, picture.MISSING).sum() == 20 - len(values)


def test_a_grid_with_more_steps_than_pixels_gets_more_pixels(write: Write, tmp_path: Path) -> None:
    steps = picture.SIDE + 500
    target = draw(write({}, space=f"grid a=0:1:{steps} x b=0:0:1"), tmp_path / "picture.png")
    assert matplotlib.image.imread(target).shape[1] == picture.MARGIN_LEFT + steps + picture.MARGIN_RIGHT


@pytest.mark.parametrize("space", ["count 20", "grid a=0:1:20", "grid a=0:1:2 x b=0:1:2 x c=0:1:5", "file p.csv, 20 parameters"])
def test_only_a_grid_of_two_axes_is_a_picture(write: Write, tmp_path: Path, space: str) -> None:
    with pytest.raises(NoPicture, match=f"over {space}; only a grid of two axes"):
        draw(write(ALL, space=space), tmp_path / "picture.png")


@pytest.mark.parametrize("text", ["null", '"1.5"', "[1]", "true"])
def test_a_value_that_is_no_number_is_named(write: Write, tmp_path: Path, text: str) -> None:
    with pytest.raises(NoPicture, match="parameter 3 has the value"):
        draw(write({3: text}), tmp_path / "picture.png")
