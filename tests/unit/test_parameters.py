"""The user's side of the parameter spaces."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.parameters import ParameterSpace, described_grid, from_settings, open_file, parse_grid
from worker.config import Settings
from worker.errors import SettingsError
from worker.space import Count, Grid, Listed

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def parameters(space: ParameterSpace) -> list[Any]:
    everything = ((0, space.total),)
    return list(space.space_of(everything).parameters(everything))


class TestWhichSpace:
    def test_count_gives_the_indices(self) -> None:
        space = from_settings(Settings(parameter_count=3))
        assert (space.total, parameters(space), space.describe()) == (3, [0, 1, 2], "count 3")
        assert space.space_of(((0, 3),)) == Count()

    def test_grid_gives_every_combination_first_axis_slowest(self) -> None:
        space = from_settings(Settings(parameter_grid="a=0:1:2, b=-1:1:3"))
        assert space.total == 6
        assert parameters(space) == [{"a": a, "b": b} for a in (0.0, 1.0) for b in (-1.0, 0.0, 1.0)]
        assert space.describe() == "grid a=0:1:2 x b=-1:1:3"

    def test_file_gives_its_lines(self, write: Write) -> None:
        space = from_settings(Settings(parameter_file=str(write("p.csv", "x\n1\n2\n"))))
        assert parameters(space) == [{"x": "1"}, {"x": "2"}]
        assert space.describe() == "file p.csv, 2 parameters"

    def test_none_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(SettingsError, match="set one of PARAMETER_COUNT, PARAMETER_GRID and PARAMETER_FILE"):
            from_settings(Settings())

    def test_two_are_refused_by_name(self) -> None:
        with pytest.raises(SettingsError, match="PARAMETER_COUNT and PARAMETER_GRID are set"):
            from_settings(Settings(parameter_count=3, parameter_grid="a=0:1:2"))

    def test_more_than_the_ledger_can_number_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="at most 9223372036854775807"):
            from_settings(Settings(parameter_count=2**63))

    def test_more_than_python_prints_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="too many parameters"):
            from_settings(Settings(parameter_grid=",".join(f"a{number}=0:1:{2**62}" for number in range(300))))

    def test_digest_tells_spaces_apart_and_stays(self, write: Write) -> None:
        grid = Settings(parameter_grid="a=0:1:4")
        settings = [
            grid,
            Settings(parameter_count=4),
            Settings(parameter_count=5),
            Settings(parameter_grid="a=0:2:4"),
            Settings(parameter_file=str(write("p.jsonl", "1\n"))),
            Settings(parameter_file=str(write("q.jsonl", "2\n"))),
        ]
        assert len({from_settings(one).digest for one in settings}) == len(settings)
        assert from_settings(grid).digest == from_settings(grid).digest


class TestGrid:
    def test_both_ends_are_included(self) -> None:
        (axis,) = parse_grid("a=2.5:3.4:7").axes
        assert (axis.value(0), axis.value(6)) == (2.5, 3.4)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("a=0:4", "'a=0:4' is not of the form"),
            ("a=0:4:2,", "'' is not of the form"),
            ("a b=0:4:2", "'a b=0:4:2' is not of the form"),
            ("=0:4:2", "'=0:4:2' is not of the form"),
            ("a=0:4:2,b=0:x:2", "'b=0:x:2' has the end 'x', not a number"),
            ("a=0:inf:2", "'a=0:inf:2' has the end 'inf', not a number"),
            ("a=0:4:0", "'a=0:4:0' has '0' steps"),
            ("a=0:4:1.5", "'a=0:4:1.5' has '1.5' steps"),
            ("a=0:1:9223372036854775808", "'a=0:1:9223372036854775808' has '9223372036854775808' steps"),
            ("a=-1e308:1e308:3", "'a=-1e308:1e308:3' has ends too far apart"),
            ("a=0:4:1", "'a=0:4:1' has one step for two ends"),
            ("a=0:4:2,a=0:4:3", "has two axes 'a'"),
        ],
    )
    def test_what_is_wrong_is_shown(self, text: str, sentence: str) -> None:
        with pytest.raises(SettingsError) as caught:
            parse_grid(text)
        assert sentence in str(caught.value)

    def test_an_axis_may_be_a_point_or_run_downwards(self) -> None:
        assert Grid(parse_grid("a=1:1:1,b=1:0:2").axes).parameters(((0, 2),)) == [{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.0}]

    def test_its_description_names_it_exactly(self) -> None:
        text = f"a=0:{1 / 3}:5,b=-1e-300:2.5:7"
        assert described_grid(from_settings(Settings(parameter_grid=text)).describe()) == parse_grid(text)
        assert described_grid(from_settings(Settings(parameter_count=5)).describe()) is None


class TestCsv:
    def test_values_are_what_dictreader_gives(self, write: Write) -> None:
        path = write("p.csv", 'name,note\r\nx,"a ""quoted"", comma"\r\n\r\ny,"two\r\nlines"\r\nz, é\u2028\r\n')
        with path.open(newline="", encoding="utf-8") as file:
            expected = list(csv.DictReader(file))
        assert parameters(open_file(path)) == expected
        assert len(expected) == 3

    @given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=2), min_size=1))
    def test_any_table_is_read_back(self, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
        path = tmp_path_factory.mktemp("csv") / "p.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
        space = open_file(path)
        assert parameters(space) == [{"a": a, "b": b} for a, b in rows]
        last = space.total - 1
        assert space.space_of(((last, last + 1),)) == Listed(({"a": rows[last][0], "b": rows[last][1]},))

    def test_a_byte_order_mark_and_a_missing_last_newline_do_no_harm(self, write: Write) -> None:
        assert parameters(open_file(write("p.csv", "x,y\n1,2\n3,4".encode("utf-8-sig")))) == [
            {"x": "1", "y": "2"},
            {"x": "3", "y": "4"},
        ]

    def test_several_ranges_are_read_in_order(self, write: Write) -> None:
        space = open_file(write("p.csv", "x\n" + "".join(f"{n}\n" for n in range(50))))
        values = space.space_of(((3, 5), (40, 41))).values
        assert [value["x"] for value in values] == ["3", "4", "40"]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("x,y\n1,2\n3\n", "line 3 has 1 fields, the header has 2"),
            ("x,y\n1,2,3\n", "line 2 has 3 fields, the header has 2"),
            ('x,y\n"a\nb",2\n\n3\n', "line 5 has 1 fields"),
            ('x,y\n1,2\n3,"4\n5,6\n', "line 3 is not CSV: unexpected end of data"),
            ("x,y\r1,2\n", "line 1 is not CSV"),
            (b"x\n1\n\xff\n", "line 3 is not UTF-8"),
            ("\nx\n", "line 1 is blank"),
            ("x,,z\n1,2,3\n", "line 1 gives column 2 no name"),
            ("x,y,x\n1,2,3\n", "line 1 names the column 'x' twice"),
            ("1.0,2\n3,4\n", "line 1 holds numbers only"),
            ("x,y\n", "holds no parameter"),
            ("", "holds no parameter"),
        ],
    )
    def test_a_malformed_line_is_named_by_its_number(self, write: Write, content: str | bytes, sentence: str) -> None:
        path = write("p.csv", content)
        with pytest.raises(SettingsError) as caught:
            open_file(path)
        assert str(caught.value).startswith(f"PARAMETER_FILE={path}")
        assert sentence in str(caught.value)


class TestJsonLines:
    def test_values_are_decoded(self, write: Write) -> None:
        path = write("p.jsonl", '\ufeff{"a": [1, 2.5]}\r\n"x\u2028y"\nnull\n[1,\r2]')
        assert parameters(open_file(path)) == [{"a": [1, 2.5]}, "x\u2028y", None, [1, 2]]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ('1\n{"a": }\n', "line 2 is not JSON"),
            ("1\n\n2\n", "line 2 is not JSON (it is blank)"),
            ("1 2\n", "line 1 is not JSON"),
            ("NaN\n", "line 1 is not JSON: NaN"),
            ("[1, -Infinity]\n", "line 1 is not JSON: -Infinity"),
            ("1e999\n", "line 1 is not JSON: 1e999"),
            ("[" * 100_000 + "\n", "line 1 is not JSON"),
            (b'"\xff"\n', "line 1 is not UTF-8"),
            ("", "holds no parameter"),
        ],
    )
    def test_a_malformed_line_is_named_by_its_number(self, write: Write, content: str | bytes, sentence: str) -> None:
        with pytest.raises(SettingsError) as caught:
            open_file(write("p.jsonl", content))
        assert sentence in str(caught.value)


class TestFile:
    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"gone\.csv cannot be read: No such file"):
            open_file(tmp_path / "gone.csv")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        folder = tmp_path / "folder.csv"
        folder.mkdir()
        with pytest.raises(SettingsError, match="Is a directory"):
            open_file(folder)

    def test_another_ending_is_refused(self, write: Write) -> None:
        with pytest.raises(SettingsError, match=r"neither in \.csv nor in \.jsonl"):
            open_file(write("p.txt", "1\n"))

    def test_a_file_that_changes_meanwhile_is_noticed(self, write: Write) -> None:
        path = write("p.jsonl", "1\n2\n")
        space = open_file(path)
        path.write_text("3\n4\n")
        os.utime(path, ns=(0, 0))
        with pytest.raises(SettingsError, match="was changed after it was checked"):
            space.space_of(((0, 1),))

    def test_a_file_that_goes_away_is_noticed(self, write: Write) -> None:
        path = write("p.jsonl", "1\n2\n")
        space = open_file(path)
        path.unlink()
        with pytest.raises(SettingsError, match="cannot be read any more"):
            space.space_of(((0, 1),))
