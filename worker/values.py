"""What a task function gave, as text: the JSON of a value, the description of an exception."""

from __future__ import annotations

import json
import math
import reprlib
import traceback
from typing import Any

from worker.errors import Reject, Retry, shorten

FRAMES_SHOWN = 5
"""Innermost frames of the function that an error shows."""

_PLAIN_INTEGER = 2**63  # Python refuses to print integers of many thousand digits


class NotJson(Reject):
    """The value is none that JSON can hold: another attempt would not change that."""


def encode(value: Any, longest: int) -> str:
    """The JSON text of `value`. What has a `tolist()` (NumPy's scalars and arrays) goes by that.

    Raises:
        NotJson: there is none, or it has more than `longest` characters.
    """
    if value is None:
        return "null"
    kind = type(value)
    if kind is float and math.isfinite(value):
        return repr(value)
    if kind is int and -_PLAIN_INTEGER < value < _PLAIN_INTEGER:
        return repr(value)
    try:
        text = _encoder.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(
            f"the function returned {_shown(value)}, which JSON cannot hold ({error}); "
            "return numbers, strings, booleans, None (for NaN, say), or lists and dicts of them"
        ) from None
    if len(text) > longest:
        raise NotJson(
            f"the function returned a {kind.__name__} whose JSON text has {len(text)} characters, and {longest} fit "
            "(half of MAX_MESSAGE_BYTES); return less, or write it to storage and return its name"
        )
    return text


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # an integer of many thousand digits, whatever holds it; or an object of the user's
        return f"a {type(value).__name__}"


def _to_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no JSON form")


_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_to_list)


def describe(error: BaseException) -> str:
    """`Type: message`, then the innermost frames of the function; a signal (`Retry`, `Reject`) speaks for itself."""
    try:
        message = str(error)
    except Exception:  # an exception of the user's whose __str__ raises
        message = "(its message cannot be shown)"
    head = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, Retry | Reject) or error.__traceback__ is None:
        return shorten(head)
    below_ours = error.__traceback__.tb_next
    frames = traceback.format_list(traceback.extract_tb(below_ours, limit=-FRAMES_SHOWN))
    return shorten("\n".join([head, *frames]).rstrip())
