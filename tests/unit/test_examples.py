"""The examples against known answers."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from statistics import NormalDist

import pytest

from examples import lyapunov, option_pricing
from examples.option_pricing import Contract
from worker import Context, Reject

CONTRACTS = Path(option_pricing.__file__).with_name("contracts.csv")
SEED = 2024


class TestLyapunov:
    @pytest.mark.parametrize("r", [0.5, 1.5, 2.5, 2.9])
    def test_a_fixed_point_has_the_derivative_at_it(self, r: float) -> None:
        expected = math.log(r) if r < 1 else math.log(abs(2 - r))
        assert lyapunov.exponent({"a": r, "b": r}) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("r", [3.1, 3.2, 3.3, 3.4])
    def test_a_cycle_of_two_has_the_mean_over_it(self, r: float) -> None:
        assert lyapunov.exponent({"a": r, "b": r}) == pytest.approx(math.log(abs(4 + 2 * r - r * r)) / 2, abs=1e-9)

    def test_full_chaos_has_ln_2(self) -> None:
        assert lyapunov.exponent({"a": 4.0, "b": 4.0}) == pytest.approx(math.log(2), abs=1e-3)

    @pytest.mark.parametrize("r", [0.0, 2.0])
    def test_a_superstable_orbit_is_clamped_to_what_json_can_hold(self, r: float) -> None:
        value = lyapunov.exponent({"a": r, "b": r})
        assert value == lyapunov.FLOOR
        assert json.dumps(value, allow_nan=False) == "-5.0"

    def test_a_whole_chunk_in_numpy_agrees_with_one_at_a_time(self) -> None:
        pytest.importorskip("numpy")
        steps = [2.0 + 2.0 * step / 7 for step in range(8)]
        chunk = [{"a": a, "b": b} for a in steps for b in steps]
        assert lyapunov.exponents(chunk) == pytest.approx([lyapunov.exponent(point) for point in chunk], abs=1e-12)

    @pytest.mark.parametrize("point", [{"a": 4.1, "b": 3.0}, {"a": 3.0, "b": -0.1}, {"a": math.nan, "b": 3.0}])
    def test_a_rate_that_sends_the_orbit_to_infinity_is_an_error(self, point: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=r"only for rates within \[0, 4\]"):
            lyapunov.exponent(point)


class TestOptionPricing:
    def test_every_contract_is_within_four_standard_errors_of_black_scholes(self) -> None:
        with CONTRACTS.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        deviations = []
        for index, row in enumerate(rows):
            value = option_pricing.price(row, Context(index, 1, SEED))
            deviations.append((value["price"] - black_scholes(Contract.parse(row))) / value["standard_error"])
        assert len(rows) > 200
        assert max(map(abs, deviations)) < 4
        spread = math.sqrt(sum(deviation**2 for deviation in deviations) / len(deviations))
        assert spread == pytest.approx(1, abs=0.2), "the standard errors are honest"

    def test_a_price_depends_on_the_seed_and_the_index_and_not_on_the_attempt(self) -> None:
        row = {"kind": "put", "spot": "100", "strike": "95", "rate": "0.02", "volatility": "0.3", "years": "0.5"}
        first = option_pricing.price(row, Context(7, 1, SEED))
        assert option_pricing.price(row, Context(7, 2, SEED)) == first
        assert option_pricing.price(row, Context(8, 1, SEED)) != first
        assert option_pricing.price(row, Context(7, 1, SEED + 1)) != first

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"kind": "cal"}, "kind is 'cal'"),
            ({"strike": "95 EUR"}, "could not convert string to float: '95 EUR'"),
            ({"years": "0"}, "must be positive"),
            ({"volatility": "nan"}, "must be finite"),
        ],
    )
    def test_a_contract_without_meaning_is_rejected(self, change: dict[str, str], sentence: str) -> None:
        row = {"kind": "call", "spot": "100", "strike": "95", "rate": "0.02", "volatility": "0.3", "years": "0.5", **change}
        with pytest.raises(Reject, match=sentence):
            option_pricing.price(row, Context(0, 1, SEED))

    def test_a_missing_column_is_named(self) -> None:
        with pytest.raises(Reject, match="no column 'rate'"):
            option_pricing.price({"kind": "call", "spot": "100", "strike": "95"}, Context(0, 1, SEED))


def black_scholes(contract: Contract) -> float:
    """The closed formula (Black and Scholes 1973)."""
    spread = contract.volatility * math.sqrt(contract.years)
    d1 = (math.log(contract.spot / contract.strike) + (contract.rate + contract.volatility**2 / 2) * contract.years) / spread
    sign = 1 if contract.kind == "call" else -1
    normal = NormalDist().cdf
    discounted = contract.strike * math.exp(-contract.rate * contract.years)
    return sign * (contract.spot * normal(sign * d1) - discounted * normal(sign * (d1 - spread)))
