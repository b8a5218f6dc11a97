"""Planted defects: what the suite must be able to catch."""

from __future__ import annotations

from collections.abc import Callable

DEFECTS: dict[str, Callable[[], None]] = {}
"""By name: plants the defect in the modules of this process."""


def plant(name: str) -> None:
    """Plant the defect `name` in this process."""
    DEFECTS[name]()
