"""Retry as a pure decision, and the policy by which every program waits for the broker.

The life of a failed parameter: attempt 1 fails, the parameter waits the first delay of the ladder, attempt 2 fails, it waits
the second one, and so on; when the attempt limit is reached, or the error is final, it is dead. A release, a drain and a
lost worker are not attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from worker.errors import BrokerUnavailable

LONGEST_DELAY = 30 * 86_400.0
"""Seconds. RabbitMQ has no delay of more than 2**32 - 1 milliseconds, 49 days; a longer one was hardly meant."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The ladder of delays, in seconds, and how many attempts a parameter has. Beyond the ladder its last step repeats."""

    delays: tuple[float, ...]
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an attempt did not give a value.

    Attributes:
        error: its text, at most `MAX_ERROR_LENGTH` characters.
        final: more attempts would not help.
        after: seconds that the function asked to wait (`Retry(after=...)`), None for the ladder's.
    """

    error: str
    final: bool = False
    after: float | None = None


def decide(failed: Failed, attempt: int, policy: Policy) -> float | None:
    """Seconds to wait before attempt `attempt + 1`, or None: the parameter is dead."""
    if failed.final or attempt >= policy.max_attempts:
        return None
    if failed.after is not None:
        return min(max(failed.after, 0.0), LONGEST_DELAY)
    return policy.delays[min(attempt, len(policy.delays)) - 1] if policy.delays else 0.0


def reconnecting(
    sleep: Callable[[float], None],
    stopped: Callable[[], bool],
    on_wait: Callable[[BaseException, float], None],
) -> tenacity.Retrying:
    """The policy by which a program waits for the broker: for ever, 0.1 s doubling to 5 s, with jitter.

    Args:
        sleep: waits for some seconds; must return early when the program is asked to stop.
        stopped: says that the program was asked to stop; the last error is then raised.
        on_wait: told the error and the seconds before each wait.
    """

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            on_wait(error, state.upcoming_sleep)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(BrokerUnavailable),
        wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.1),
        stop=lambda _state: stopped(),
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )
