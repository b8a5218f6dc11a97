"""`ttg results`: the values so far as CSV, `parameter,value` in the order of the indices; a value is JSON text.

  ttg results > results.csv
  ttg results --to results.csv --output results/run-0123456789

They come from the ledger at LEDGER_URL, or with --output straight from the ledger.sqlite in that folder, whether its ledger
still runs or not. A run that goes on gives the values it has at this moment.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts import reading
from worker.config import Settings
from worker.errors import SettingsError
from worker.program import exit_status

NO_READER = 141
"""Exit status after the reader of our output went away (`| head`): 128 + SIGPIPE."""


def add_source(parser: argparse.ArgumentParser) -> None:
    """The two options that say where the ledger is."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--ledger", metavar="URL", help="address of the ledger (default: LEDGER_URL)")
    source.add_argument("--output", type=Path, metavar="DIR", help="output folder of a run: read its ledger.sqlite directly")


def ledger_file(folder: Path) -> Path:
    """The ledger in an output folder; `reading.opened` says so if there is none."""
    return folder / "ledger.sqlite"


@contextmanager
def fetched(arguments: argparse.Namespace, path: str, *, method: str = "GET") -> Iterator[io.TextIOWrapper]:
    """The ledger's answer to a request, as text.

    Raises:
        SettingsError: there is no ledger at that address, or it says no.
    """
    url = (arguments.ledger or Settings.from_environ().ledger_url).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"--ledger {url} is not a URL of the form http://host:port")
    request = urllib.request.Request(f"{url}{path}", method=method)  # noqa: S310  # the scheme is checked above
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # the same
            yield io.TextIOWrapper(answer, encoding="utf-8", newline="\n")
    except urllib.error.HTTPError as error:
        with error:
            raise SettingsError(
                f"the ledger at {url} says {error.code}: {error.read().decode(errors='replace').strip()}"
            ) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise SettingsError(f"no ledger answers at {url} ({reason}); set LEDGER_URL, or name an output folder") from None


@contextmanager
def csv_source(arguments: argparse.Namespace, table: reading.Table, path: str) -> Iterator[Iterator[str]]:
    """CSV text, from the file if an output folder is named, else over HTTP."""
    if arguments.output is not None:
        with reading.opened(ledger_file(arguments.output)) as connection:
            yield reading.csv_lines(connection, table)
    else:
        with fetched(arguments, path) as lines:
            yield iter(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="ttg results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_source(parser)
    parser.add_argument("--to", type=Path, metavar="FILE", help="write to this file (default: standard output)")
    arguments = parser.parse_args(argv)
    with csv_source(arguments, reading.RESULTS, "/results.csv") as lines:
        if arguments.to is not None:
            with reading.whole(arguments.to) as file:
                file.writelines(lines)
            return 0
        try:
            sys.stdout.writelines(lines)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush complains
            return NO_READER
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
