"""Monte Carlo prices of European options, one contract a line of a CSV file, each with its standard error.

    python -m scripts.local --task examples.option_pricing:price --file examples/contracts.csv --seed 2024

The columns: `kind` (call or put), `spot`, `strike`, `rate` and `volatility` (a year, as fractions), `years` to maturity. A
parameter of a CSV file is a dict of strings, so the function converts them; a contract that makes no sense is rejected, for
trying it again would not help.

The stock follows geometric Brownian motion. Each normal deviate is used with both signs (antithetic variates), and the pair
counts as one sample. The generator is seeded by `context.seed`: a contract has the same price in every run with the same
seed, whatever the chunk size, the worker and the attempt.

Source: P. Glasserman, "Monte Carlo Methods in Financial Engineering" (2003), sections 1.1.2 and 4.2. The prices are checked
against the closed formula of Black and Scholes.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from worker import Context, Reject

PAIRS = 20_000


@dataclass(frozen=True, slots=True)
class Contract:
    """A European option on a stock without dividends. Rate and volatility are per year, the rate compounds continuously."""

    kind: str
    spot: float
    strike: float
    rate: float
    volatility: float
    years: float

    @classmethod
    def parse(cls, row: dict[str, str]) -> Contract:
        """The contract in a row of the CSV file.

        Raises:
            Reject: there is none in it.
        """
        try:
            numbers = {name: float(row[name]) for name in ("spot", "strike", "rate", "volatility", "years")}
            contract = cls(kind=row["kind"], **numbers)
        except KeyError as error:
            raise Reject(f"the file has no column {error}") from None
        except ValueError as error:
            raise Reject(f"{row}: {error}") from None
        if contract.kind not in ("call", "put"):
            raise Reject(f"kind is {contract.kind!r}, neither call nor put")
        if not all(map(math.isfinite, numbers.values())):
            raise Reject(f"{contract}: numbers must be finite")
        if min(contract.spot, contract.strike, contract.volatility, contract.years) <= 0:
            raise Reject(f"{contract}: spot, strike, volatility and years must be positive")
        return contract


def price(parameter: dict[str, str], context: Context) -> dict[str, float]:
    """The present value of one contract: {"price": ..., "standard_error": ...}, in the currency of the spot price."""
    contract = Contract.parse(parameter)
    sign = 1.0 if contract.kind == "call" else -1.0
    drift = (contract.rate - contract.volatility**2 / 2) * contract.years
    spread = contract.volatility * math.sqrt(contract.years)
    centre = contract.spot * math.exp(drift)
    gauss = random.Random(context.seed).gauss

    total = squares = 0.0
    for _ in range(PAIRS):
        factor = math.exp(spread * gauss(0.0, 1.0))
        up = max(sign * (centre * factor - contract.strike), 0.0)
        down = max(sign * (centre / factor - contract.strike), 0.0)
        sample = (up + down) / 2
        total += sample
        squares += sample * sample

    mean = total / PAIRS
    variance = max(squares / PAIRS - mean * mean, 0.0) * PAIRS / (PAIRS - 1)
    discount = math.exp(-contract.rate * contract.years)
    return {"price": discount * mean, "standard_error": discount * math.sqrt(variance / PAIRS)}
