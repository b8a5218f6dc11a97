"""A command that measured writes its own part of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.page import PAGE, replace_part

TEXT = "before\n<!-- begin a -->\nold\n<!-- end a -->\nbetween\n<!-- begin b -->\n<!-- end b -->\nafter\n"


def test_a_part_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    replace_part("b", r"new \1", page)
    replace_part("a", "newer", page)
    assert page.read_text() == (
        "before\n<!-- begin a -->\n\nnewer\n\n<!-- end a -->\nbetween\n<!-- begin b -->\n\nnew \\1\n\n<!-- end b -->\nafter\n"
    )


def test_a_part_that_the_page_does_not_have_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    with pytest.raises(ValueError, match="no part 'c'"):
        replace_part("c", "new", page)


@pytest.mark.parametrize("name", ["machine", "cluster"])
def test_the_page_has_the_parts_that_are_written(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    replace_part(name, "measured", page)
    assert "measured" in page.read_text()
