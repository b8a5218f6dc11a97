"""A task that needs something to be there before it can begin."""

from __future__ import annotations

import os
from pathlib import Path


def setup() -> None:
    """Load the model, which a test puts there."""
    (Path(os.environ["TTG_TEST_FOLDER"]) / "model").read_bytes()


def square(parameter: int) -> int:
    """The parameter's square."""
    return parameter * parameter
