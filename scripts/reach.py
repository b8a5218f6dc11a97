"""`python -m scripts.reach watch|ui|results`: what a release in the cluster has to show, through a port-forward.

  watch    follow the run in the terminal, until it is complete
  ui       RabbitMQ's management page on this machine, and its login, until Ctrl-C
  results  the values, the report and, of a grid of two axes, the picture: into a folder

`make watch`, `make ui` and `make results` are these.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from scripts.forward import Forward
from scripts.kube import CommandFailed, Place
from scripts.picture import NoPicture, draw
from scripts.reading import whole, write_csv
from scripts.release import MANAGEMENT_PORT, NotThere, Release
from scripts.report import Report
from scripts.watch import COMPLETE_WITH_DEAD, Watch, fetch, follow
from worker.program import exit_status

ANSWER_SECONDS = 30.0

SNAPSHOT = """
import os, shutil, sqlite3, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    copy = os.path.join(folder, "ledger.sqlite")
    sqlite3.connect(f"file:{os.environ['LEDGER_PATH']}?mode=ro", uri=True).execute("VACUUM INTO ?", (copy,))
    with open(copy, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
"""
"""Runs in the ledger's pod, beside it: one consistent copy of its file, while the run goes on."""


def ledger(release: Release, local: int = 0) -> Forward:
    """The port of a release's ledger, once the `with` block begins.

    Raises:
        NotThere: there is no such release.
    """
    name, port = release.service("ledger")
    return Forward(release.place, f"service/{name}", port, local)


def watch(release: Release) -> int:
    with ledger(release) as forward, Watch() as view:
        forward.wait(ANSWER_SECONDS)
        status = follow(forward.url, view, sleep=forward.sleep)
    report = Report.from_status(status)
    report.show()
    return COMPLETE_WITH_DEAD if report.dead else 0


def ui(release: Release) -> int:
    broker = release.pod("broker")
    secret = release.place.get("secrets", f"--selector=app.kubernetes.io/instance={release.name}")["items"]
    accounts = next((item for item in secret if "definitions.json" in item.get("data", {})), None)
    if accounts is None:
        raise NotThere(f"{broker.name} is no RabbitMQ of the chart's with accounts of its own; Redis has no page, make watch has")
    console = Console(highlight=False)
    with Forward(release.place, f"pod/{broker.name}", MANAGEMENT_PORT, MANAGEMENT_PORT) as forward:
        if not forward.wait(ANSWER_SECONDS):
            raise NotThere(f"{broker.name} does not answer; or port {MANAGEMENT_PORT} of this machine is in use")
        console.print(f"{forward.url}  RabbitMQ's management page")
        console.print(f"user      monitor\npassword  {base64.b64decode(accounts['data']['monitor-password']).decode()}")
        console.print(
            f"(key monitor-password of Secret {accounts['metadata']['name']}; it may look, and change nothing)", soft_wrap=True
        )
        console.print("Ctrl-C ends it.", style="dim")
        while True:
            forward.sleep(1.0)


def results(release: Release, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "ledger.sqlite"
    snapshot(release, copy)
    write_csv(copy, folder / "results.csv")
    console = Console(highlight=False)
    with ledger(release) as forward:
        if not forward.wait(ANSWER_SECONDS):
            raise NotThere("the ledger does not answer; try again")
        report = Report.from_status(fetch(forward.url))
    with whole(folder / "report.json") as file:
        file.write(report.to_json())
    report.show(console)
    console.print(f"{folder / 'results.csv'}  {folder / 'report.json'}  {copy}", soft_wrap=True)
    try:
        console.print(str(draw(copy, folder / "picture.png")), soft_wrap=True)
    except NoPicture as error:
        console.print(f"no picture: {error}", style="dim", soft_wrap=True)
    return 0 if report.missing == 0 else 1


def snapshot(release: Release, target: Path) -> None:
    """A copy of the ledger's file as `target`, which is there whole or as it was before.

    Raises:
        CommandFailed: the ledger's pod could not give it.
    """
    pod = release.pod("ledger")
    draft = target.with_suffix(".part")
    with draft.open("wb") as file:
        command = release.place.command("exec", pod.name, "--container=ledger", "--", "python", "-c", SNAPSHOT)
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        draft.unlink()
        raise CommandFailed(f"{pod.name} gave no copy of its file: {done.stderr.strip()}")
    draft.replace(target)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="reach", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("watch", "ui", "results"))
    parser.add_argument("--release", default="ttg", help="name of the release (default: ttg)")
    parser.add_argument("--namespace", default="", help="its namespace (default: the context's)")
    parser.add_argument("--context", default="", help="kubectl context (default: the current one)")
    parser.add_argument("--to", type=Path, default=Path("results"), metavar="DIR", help="for results (default: results)")
    arguments = parser.parse_args(argv)
    release = Release(Place(arguments.context, arguments.namespace), arguments.release)
    if arguments.what == "results":
        return results(release, arguments.to)
    return watch(release) if arguments.what == "watch" else ui(release)


if __name__ == "__main__":
    sys.exit(exit_status(main))
