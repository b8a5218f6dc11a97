"""`ttg dead`: the parameters that failed their last attempt, and another chance for them.

  ttg dead list                      each with its number of attempts and the first line of its error
  ttg dead list --csv                with the whole errors
  ttg dead retry                     all of them are tried again, from attempt 1
  ttg dead retry 17 123456           these
  ttg dead retry --output DIR        in the folder of a run whose ledger does not run: they are missing again, and the same
                                     `ttg local` command computes them

The ledger at LEDGER_URL is asked, or the ledger.sqlite in an output folder directly. Errors are kept in the run's events.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from scripts import reading
from scripts.results import add_source, csv_source, fetched, ledger_file
from scripts.store import Store
from worker.program import exit_status


def show(arguments: argparse.Namespace) -> None:
    with csv_source(arguments, reading.DEAD_PARAMETERS, "/dead.csv") as lines:
        if arguments.csv:
            sys.stdout.writelines(lines)
            return
        rows = csv.reader(line for text in lines for line in io.StringIO(text, newline="\n"))
        next(rows)
        for parameter, error, attempts in rows:
            first_line = error.partition("\n")[0]
            print(f"{parameter}: {attempts} attempt{'s' if attempts != '1' else ''}, {first_line}")


def retry(arguments: argparse.Namespace) -> None:
    if arguments.output is not None:
        count = retry_in(ledger_file(arguments.output), arguments.parameter or None)
    else:
        query = urlencode([("parameter", index) for index in arguments.parameter])
        with fetched(arguments, f"/dead/retry?{query}", method="POST") as answer:
            count = json.load(answer)["retried"]
    print(f"{count} dead parameter{'s are' if count != 1 else ' is'} missing again")


def retry_in(path: Path, indices: Sequence[int] | None) -> int:
    """Make dead parameters in a file that no ledger has open missing ones; returns how many they were.

    Raises:
        SettingsError: there is no ledger, or its program runs: ask that one.
    """
    with reading.opened(path) as connection:
        specification = reading.specification(connection, path)
    with closing(Store(path, specification, time.time())) as store, store.transaction():
        return len(store.retry_dead(time.time(), indices))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ttg dead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="list|retry")
    listing = commands.add_parser("list", help="print them")
    listing.add_argument("--csv", action="store_true", help="print parameter,error,attempts as CSV")
    listing.set_defaults(command=show)
    retrying = commands.add_parser("retry", help="try them again")
    retrying.add_argument("parameter", type=int, nargs="*", help="index of a dead parameter (default: all)")
    retrying.set_defaults(command=retry)
    for command in (listing, retrying):
        add_source(command)
    arguments = parser.parse_args(argv)
    arguments.command(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
