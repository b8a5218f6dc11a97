"""The error tree, and the two signals a task function may raise.

Client exceptions are translated at the edge of `worker.brokers`; nothing above it imports redis or pika. The message of
every `TtgError` is one sentence that names the value and the remedy, fit to be printed without a traceback.
"""

from __future__ import annotations

MAX_ERROR_LENGTH = 10_000
"""Characters of an error text that travel and are kept (Sidekiq's limit, `job_retry.rb`)."""


class TtgError(Exception):
    """Base of everything this project raises on purpose."""


class SettingsError(TtgError):
    """A setting that is missing, malformed or contradictory."""


class TaskError(TtgError):
    """The task cannot be imported, is not a function, or breaks the process it runs in."""


class MalformedMessage(TtgError):
    """A body that no version of this project wrote: it goes to the dead-letter queue, bytes intact."""


class ForeignMessage(MalformedMessage):
    """A well-formed message of another run, or of a newer schema."""


class BrokerError(TtgError):
    """Base of what `worker.brokers` raises."""


class BrokerUnavailable(BrokerError):
    """The broker is away, restarting or out of memory: wait and try again."""


class BrokerRefused(BrokerError):
    """The broker answered and said no (wrong password, no permission): waiting does not help."""


class Retry(Exception):
    """Raised by a task function: try this parameter again, `after` seconds from now (default: the next delay of the ladder)."""

    def __init__(self, message: str = "the task asked to be tried again", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Reject(Exception):
    """Raised by a task function: this parameter is dead, more attempts would not help."""


def shorten(text: str, most: int = MAX_ERROR_LENGTH) -> str:
    """`text` as it can be kept: cut to `most` characters, of characters that have an encoding.

    A file name that is not UTF-8 has half a surrogate in Python, and so has the error that names it.
    """
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"
