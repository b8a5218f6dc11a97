"""JSON as it may travel: what is read can be written again, stored, and handed to a child process.

Python's `json` reads more than that: NaN and Infinity, numbers too large for a float, and lists nested so deeply that writing
them again, or `marshal`, fails a few levels earlier than reading did.
"""

from __future__ import annotations

import json
import math
from typing import Any

MOST_LEVELS = 500
"""Lists and dicts in each other. Python 3.11 reads some 990 of them, and `marshal` writes 2,000."""


def decode(text: str) -> Any:
    """The value of `text`.

    Raises:
        ValueError: it is not JSON, or not such JSON.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # Few texts have that many brackets, so it costs nothing to look closer at those.
    if text.count("[") + text.count("{") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"it is nested in more than {MOST_LEVELS} levels"


def _levels(value: Any) -> int:
    levels = 0
    level = [value]
    while level := [item for item in level if isinstance(item, list | dict)]:
        levels += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return levels


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is no number of JSON, or too large for a float")
    return value


_decode = json.JSONDecoder(parse_float=_number, parse_constant=_number).decode
