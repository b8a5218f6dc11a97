"""`ttg local`: a whole run on this machine, with a private broker unless REDIS_URL or RABBITMQ_URL names one.

  ttg local --task my_module:my_function --count 100000
  ttg local --task my_module:my_function --grid 'a=0:4:1000,b=0:4:1000' --workers 4
  ttg local --task my_module:my_function --file params.csv --output results/prices
  ttg local --task my_module:my_function --count 100000 --only 123456

The output folder then holds ledger.sqlite, results.csv and report.json. Run again with the same specification, it resumes:
what is in the ledger is not computed again. Every setting of docs/settings.md may be given in the environment as well.

Exit status: 0 complete, 3 complete with dead parameters, 1 error, 130 interrupted (resumable).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.embedded import embedded
from scripts.parameters import ParameterSpace, from_settings
from scripts.processes import Processes
from scripts.reading import write_csv
from scripts.report import Report
from scripts.specification import Specification
from scripts.watch import Watch
from worker.brokers import connect
from worker.config import Settings
from worker.errors import SettingsError
from worker.program import INTERRUPTED, exit_status
from worker.signals import StopSignal
from worker.task import Context, load

COMPLETE_WITH_DEAD = 3
LOOK_SECONDS = 0.2

Hook = Callable[[dict[str, Any], Processes], None]
"""Told each status while the run goes on; the demo kills a worker from here."""


def parser() -> argparse.ArgumentParser:
    """The command line; each option is a setting of docs/settings.md."""
    parser = argparse.ArgumentParser(prog="ttg local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, metavar="MODULE:FUNCTION", help="the function, found from the current directory")
    space = parser.add_mutually_exclusive_group(required=True)
    space.add_argument("--count", dest="parameter_count", metavar="N", help="parameters 0..N-1, each the index itself")
    space.add_argument("--grid", dest="parameter_grid", metavar="AXES", help="a=first:last:steps,b=...: dicts of floats")
    space.add_argument("--file", dest="parameter_file", metavar="FILE", help="params.csv or params.jsonl, one parameter a line")
    parser.add_argument("--backend", dest="queue_backend", metavar="BROKER", help="redis (default) or rabbitmq")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="worker processes (default: one a core)"
    )
    parser.add_argument("--chunk-size", metavar="N", help="parameters a message (default: 100, fewer for a small run)")
    parser.add_argument("--max-attempts", metavar="N", help="attempts a parameter has (default: 4)")
    parser.add_argument("--retry-delays", metavar="S,S,...", help="seconds before the 2nd, 3rd, ... attempt (default: 1,5,25)")
    parser.add_argument("--time-limit", dest="time_limit_seconds", metavar="S", help="seconds a parameter may take")
    parser.add_argument("--memory-limit", dest="memory_limit_mb", metavar="MB", help="memory a child process may take")
    parser.add_argument("--seed", metavar="N", help="the run's seed, from which context.seed is made (default: 0)")
    parser.add_argument(
        "--seed-globals", action="store_true", help="also seed random and NumPy's generator before each parameter"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="output folder (default: results/<run>)")
    parser.add_argument("--accept-changed-code", action="store_true", help="go on with a run that other code began")
    parser.add_argument(
        "--only", type=int, metavar="INDEX", help="compute this one parameter here, in the foreground, and print it"
    )
    return parser


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The settings that the command line gives, by their environment names."""
    names = {name.upper() for name in Settings.__dataclass_fields__}
    given = {name.upper(): value for name, value in vars(arguments).items() if value not in (None, False)}
    return {name: "true" if value is True else str(value) for name, value in given.items() if name in names}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    given = environment(arguments)
    settings = _settings(given)
    space = from_settings(settings)
    if arguments.only is not None:
        return only(settings, space, arguments.only)
    if arguments.workers < 1:
        raise SettingsError(f"--workers {arguments.workers} is not at least 1")
    given["CHUNK_SIZE"] = str(
        chunk_size(settings, space.total, arguments.workers, explicit="CHUNK_SIZE" in {**os.environ, **given})
    )
    specification = Specification.from_settings(settings, space)
    given["RUN_ID"] = specification.run
    folder = arguments.output or Path("results") / specification.run
    with Watch() as watch:
        return run(given, folder, arguments.workers, watch)


def chunk_size(settings: Settings, total: int, workers: int, *, explicit: bool) -> int:
    """The one that was asked for, else small enough that every worker gets a good many chunks."""
    return settings.chunk_size if explicit else max(1, min(settings.chunk_size, total // (workers * 20)))


def run(
    given: Mapping[str, str],
    folder: Path,
    workers: int,
    watch: Watch,
    hook: Hook | None = None,
    recovery_seconds: Callable[[], float | None] = lambda: None,
) -> int:
    """Run the programs until the ledger says complete, and leave the output folder behind. Returns the exit status."""
    with (
        StopSignal() as stop,
        _broker(given) as url,
        Processes({**given, **url}, folder, workers, watch.say) as programs,
    ):
        status: dict[str, Any] | None = None
        while not (status and status["state"] == "complete"):
            stop.sleep(LOOK_SECONDS)
            if stop.requested:
                watch.say("interrupted; the same command resumes")
                return INTERRUPTED
            programs.watch_over()
            status = programs.status()
            if status is not None:
                watch.update(status)
                if hook is not None:
                    hook(status, programs)
    watch.close()
    report = Report.from_status(status, recovery_seconds=recovery_seconds())
    write_csv(programs.ledger_path, folder / "results.csv")
    (folder / "report.json").write_text(report.to_json())
    report.show()
    print(f"results: {folder / 'results.csv'}")
    _leave_nothing_at_the_broker(given)
    return COMPLETE_WITH_DEAD if report.dead else 0


@contextlib.contextmanager
def _broker(given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The setting that names the broker: empty if the user's environment does, else a private one's, which ends with us."""
    backend = _settings(given).queue_backend
    if _is_the_users(backend):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="ttg-") as scratch, embedded(backend, Path(scratch) / backend) as server:
        yield {_url_setting(backend): server.url}


def _leave_nothing_at_the_broker(given: Mapping[str, str]) -> None:
    """A broker of the user's forgets a run that is complete; a private one is gone already."""
    settings = _settings(given)
    if _is_the_users(settings.queue_backend):
        with contextlib.closing(connect(settings, "local")) as broker:
            broker.open()
            broker.delete()


def _settings(given: Mapping[str, str]) -> Settings:
    """The settings of the command line, over those of the environment."""
    return Settings.from_environ({**os.environ, **given})


def _url_setting(backend: str) -> str:
    return f"{backend.upper()}_URL"


def _is_the_users(backend: str) -> bool:
    """Whether the environment names a broker of that kind."""
    return bool(os.environ.get(_url_setting(backend)))


def only(settings: Settings, space: ParameterSpace, index: int) -> int:
    """Compute one parameter in this process, as a worker's child would: prints, tracebacks and debuggers work."""
    if not 0 <= index < space.total:
        raise SettingsError(f"--only {index} is not an index of this run; they are 0..{space.total - 1}")
    task = load(settings.task)
    if task.setup is not None:
        task.setup()
    ranges = ((index, index + 1),)
    (parameter,) = space.space_of(ranges).parameters(ranges)
    context = Context(index, 1, settings.seed)
    started = time.monotonic()
    if task.whole_chunk:
        (value,) = task.function([parameter], [context]) if task.takes_context else task.function([parameter])
    else:
        value = task.function(parameter, context) if task.takes_context else task.function(parameter)
    print(f"parameter {index}: {parameter!r}")
    print(f"value: {value!r}")
    print(f"{time.monotonic() - started:.6f} s")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
