"""What every program needs around its `main`: errors as sentences instead of tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from worker.errors import TtgError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""
NO_READER = 141
"""Exit status after the reader of our output went away (`| head`): 128 + SIGPIPE."""


def exit_status(main: Callable[[], int]) -> int:
    """Run `main` and return its exit status; 1 with one sentence on standard error for a `TtgError`, 130 for Ctrl-C."""
    try:
        return main()
    except TtgError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush complains
        return NO_READER
