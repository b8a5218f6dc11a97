"""`ttg`: one command in front of the programs. It only dispatches; each module documents itself."""

from __future__ import annotations

import importlib
import sys

from worker.program import exit_status

COMMANDS = {
    "local": ("scripts.local", "run a task over its parameters on this machine"),
    "watch": ("scripts.watch", "follow a run in the terminal"),
    "dead": ("scripts.dead", "list the dead parameters, or try them again"),
    "results": ("scripts.results", "download the results"),
}


def usage() -> str:
    lines = [f"  {name:<8} {meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(["usage: ttg COMMAND ...", "", *lines, "", "ttg COMMAND --help says more about each."])


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(usage())
        return 0 if len(sys.argv) > 1 else 2
    name = sys.argv[1]
    if name not in COMMANDS:
        print(f"ttg: there is no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    sys.argv[:2] = [f"ttg {name}"]
    module = importlib.import_module(COMMANDS[name][0])
    return exit_status(module.main)


if __name__ == "__main__":
    sys.exit(main())
