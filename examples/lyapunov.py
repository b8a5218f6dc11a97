"""Lyapunov exponents of the logistic map x -> r x (1 - x), with r alternating between a and b: a Markus-Lyapunov fractal.

The exponent is the mean of ln |r (1 - 2x)| along the orbit: negative where the orbit settles (order), positive where it never
repeats (chaos). The sequence is AABAB, over the window that it is usually shown in:

    python -m scripts.local --task examples.lyapunov:exponent --grid 'a=2:4:200,b=2:4:200' --output results/lyapunov
    python -m scripts.picture results/lyapunov/ledger.sqlite lyapunov.png

Source: M. Markus and B. Hess, "Lyapunov exponents of the logistic map with periodic forcing", Computers & Graphics 13 (1989)
553-558; sequence and window: https://en.wikipedia.org/wiki/Lyapunov_fractal.

Known answers, on the diagonal a = b, where it is the plain logistic map: ln |2 - r| for 1 < r < 3 (a fixed point),
ln |4 + 2r - r^2| / 2 for 3 < r < 1 + sqrt(6) (a cycle of two), ln 2 at r = 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from worker import whole_chunk

SEQUENCE = "AABAB"
START = 0.4  # not 0.5, which falls on the fixed point 0 when r = 4
SETTLING = 150  # passes through the sequence before the orbit is measured
MEASURED = 1300  # passes that are averaged

FLOOR = -5.0
"""The least exponent that is returned: a superstable orbit passes x = 1/2 and has -infinity, which JSON cannot hold."""

TINY = 1e-300
"""Instead of a product of derivatives that is zero, which has no logarithm."""


def exponent(parameter: dict[str, float]) -> float:
    """The exponent at one point {"a": a, "b": b}, per step of the map.

    Raises:
        ValueError: a or b is outside [0, 4], where the orbit leaves [0, 1] for infinity.
    """
    a, b = parameter["a"], parameter["b"]
    _check(a, b)
    rates = [a if letter == "A" else b for letter in SEQUENCE]
    x = START
    for _ in range(SETTLING):
        for r in rates:
            x = r * x * (1.0 - x)
    total = 0.0
    for _ in range(MEASURED):
        product = 1.0  # one logarithm a pass: a few factors of at most 4 cannot overflow
        for r in rates:
            growth = r * x
            product *= r - 2.0 * growth
            x = growth * (1.0 - x)
        total += math.log(max(abs(product), TINY))
    return max(total / (MEASURED * len(rates)), FLOOR)


@whole_chunk
def exponents(parameters: Sequence[dict[str, float]]) -> list[float]:
    """The same for a whole chunk at once, in NumPy: some twenty times faster at 1,000 parameters a chunk."""
    import numpy as np

    a = np.array([parameter["a"] for parameter in parameters])
    b = np.array([parameter["b"] for parameter in parameters])
    for pair in zip(a, b, strict=True):
        _check(*pair)
    rates = [a if letter == "A" else b for letter in SEQUENCE]
    x = np.full(len(parameters), START)
    for _ in range(SETTLING):
        for r in rates:
            x = r * x * (1.0 - x)
    total = np.zeros(len(parameters))
    for _ in range(MEASURED):
        product = np.ones(len(parameters))
        for r in rates:
            growth = r * x
            product *= r - 2.0 * growth
            x = growth * (1.0 - x)
        total += np.log(np.maximum(np.abs(product), TINY))
    means: list[float] = np.maximum(total / (MEASURED * len(rates)), FLOOR).tolist()
    return means


def _check(a: float, b: float) -> None:
    if not (0.0 <= a <= 4.0 and 0.0 <= b <= 4.0):
        raise ValueError(f"a={a:g}, b={b:g}: the logistic map stays in [0, 1] only for rates within [0, 4]")
