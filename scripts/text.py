"""Numbers and times as people read them, the same on every screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def count(value: float | None) -> str:
    """Whole, with thousands separated; a dash for what is not known."""
    return "–" if value is None else f"{value:,.0f}"


def rate(value: float) -> str:
    """So many a second: whole numbers, unless it is slow."""
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Two units at most: 0.4 s, 12.3 s, 2 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    units = ((60, "s"), (60, "min"), (24, "h"), (10**9, "d"))
    whole, parts = round(seconds), []
    for size, name in units:
        whole, part = divmod(whole, size)
        parts.append(f"{part} {name}")
        if not whole:
            break
    return " ".join(part for part in reversed(parts[-2:]) if not part.startswith("0 "))


def table(columns: Sequence[str], names: int) -> Table:
    """A table of figures without rules, to be filled; its first `names` columns are words."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for position, column in enumerate(columns):
        made.add_column(column, justify="left" if position < names else "right", no_wrap=True)
    return made
