"""`docs/faults.md`: each command that measures replaces its own part of the page, and only that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def replace_part(name: str, markdown: str, page: Path = PAGE) -> None:
    """Put `markdown` between the lines `<!-- begin name -->` and `<!-- end name -->`, which the page must have."""
    text = page.read_text(encoding="utf-8")
    part = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not part.search(text):
        raise ValueError(f"{page} has no part {name!r}")
    page.write_text(part.sub(lambda found: f"{found[1]}\n{markdown.strip()}\n\n{found[2]}", text), encoding="utf-8")


def figures(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, whose first column is words."""
    return [f"| {' | '.join(columns)} |", f"|---{'|--:' * (len(columns) - 1)}|", *(f"| {' | '.join(row)} |" for row in rows)]
