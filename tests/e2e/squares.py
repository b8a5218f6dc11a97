"""The task of the cluster tests. It is in no image: `run.files` brings it, in a ConfigMap."""

from __future__ import annotations

import os
import time

from worker import Reject


def square(parameter: int) -> int:
    """The parameter's square, after PACE seconds; REFUSED names a parameter that is dead."""
    if str(parameter) == os.environ.get("REFUSED"):
        raise Reject(f"{parameter} is refused")
    time.sleep(float(os.environ.get("PACE", "0")))
    return parameter * parameter
