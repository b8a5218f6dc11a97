"""`python -m scripts.settings > docs/settings.md`: the table of settings, from the code that reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from worker.config import Settings

HEAD = """\
# Settings

Every program reads them from its environment; the options of `ttg local` set the same variables for the programs it starts.
An empty variable is an unset one. Seconds may have fractions; MB are 2**20 bytes. A value that cannot be used ends the
program with status 1 and a sentence that names it.

This page is made by `python -m scripts.settings`.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page in Markdown."""
    return HEAD + "".join(f"{row}\n" for row in _rows())


def _rows() -> Iterator[str]:
    for item in fields(Settings):
        default = _shown(item.default)
        yield f"| `{item.name.upper()}` | {f'`{default}`' if default else ''} | {item.metadata['meaning']} |"


def _shown(default: Any) -> str:
    """A default as it would be written in the environment."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


if __name__ == "__main__":
    sys.stdout.write(page())
