"""Functions that compute nothing: for demonstrations, which want to be watched, and benchmarks, which want none of it.

TASK=examples.sleep:wait SLEEP_SECONDS=0.01 ...
"""

from __future__ import annotations

import os
import time
from typing import Any


def wait(parameter: Any) -> float:
    """Wait, and return the seconds: the parameter's `seconds` if it has them (a grid, a file), else SLEEP_SECONDS, else 0.1."""
    given = parameter.get("seconds") if isinstance(parameter, dict) else None
    seconds = float(os.environ.get("SLEEP_SECONDS", "0.1") if given is None else given)
    time.sleep(seconds)
    return seconds


def nothing(parameter: Any) -> None:
    """Do nothing, and return None."""
