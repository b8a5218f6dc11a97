"""`python -m tests.model`: random walks for some minutes. The first that breaks a rule ends it, and tells its history."""

from __future__ import annotations

import argparse
import itertools
import time

from tests.model.walks import walk
from tests.model.world import miniature


def main() -> None:
    parser = argparse.ArgumentParser(prog="model", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first walk; each next one has the next number")
    arguments = parser.parse_args()
    started = time.monotonic()
    steps = 0
    with miniature():
        for seed in itertools.count(arguments.seed):
            steps += len(walk(seed).history)
            if (minutes := (time.monotonic() - started) / 60) >= arguments.minutes:
                break
    walks = seed - arguments.seed + 1
    print(f"{walks:,} histories, {steps:,} steps in {minutes:.1f} minutes: {walks / minutes:,.0f} histories a minute")


if __name__ == "__main__":
    main()
