"""JSON lines on standard error: a short message, an `action` to filter by, and ids.

log.info("chunk settled", extra={"action": "settle", "chunk": "0-99"})
"""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure(level: str, **fields: str) -> None:
    """Send the `ttg` loggers to standard error; every line carries `fields` (run, worker, ...)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields=fields,
            json_ensure_ascii=False,
        )
    )
    logger = logging.getLogger("ttg")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def get(noun: str) -> logging.Logger:
    """The logger of one module, named by its noun."""
    return logging.getLogger(f"ttg.{noun}")
