"""What every program needs around its `main`: errors as sentences instead of tracebacks."""

from __future__ import annotations

import sys
from collections.abc import Callable

from worker.errors import TtgError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""


def exit_status(main: Callable[[], int]) -> int:
    """Run `main` and return its exit status; 1 with one sentence on standard error for a `TtgError`, 130 for Ctrl-C."""
    try:
        return main()
    except TtgError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
