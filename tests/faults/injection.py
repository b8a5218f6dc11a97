"""How each kind of fault is carried out, and mended if it lasts."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.disk import limit_files
from tests.faults.actor import Actor
from tests.faults.schedule import BROKER, LEDGER, Fault, Kind
from tests.faults.servers import PASSWORD

if TYPE_CHECKING:
    from tests.faults.trial import Trial

Mend = Callable[[], None]
HOUR = 3600.0
SIGNALS = {Kind.KILL: signal.SIGKILL, Kind.TERM: signal.SIGTERM, Kind.FREEZE: signal.SIGSTOP}


class NotThere(Exception):
    """What was to be struck is not there at this moment."""


class Injection:
    """Strikes the programs and the broker of a trial."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._server = trial.server

    def strike(self, fault: Fault) -> tuple[bool, Mend | None]:
        """Whether it struck, and how to mend it, None if there is nothing to mend."""
        try:
            return True, self._strike(fault)
        except NotThere:
            return False, None

    def _strike(self, fault: Fault) -> Mend | None:
        if fault.target == BROKER:
            self._server.process.thaw()  # a frozen one would not hear of the next fault
        match fault.kind:
            case Kind.KILL | Kind.TERM | Kind.FREEZE if fault.target != BROKER:
                return self._signal(fault)
            case Kind.KILL:
                self._server.restart(empty=False)
            case Kind.WIPE:
                self._server.restart(empty=True)
            case Kind.FREEZE:
                self._server.process.freeze()
                return self._server.process.thaw
            case Kind.MEMORY_FULL:
                self._server.fill_memory()
                return self._server.free_memory
            case Kind.ROTATE:
                self._rotate()
            case Kind.CUT | Kind.HOLD | Kind.DELAY | Kind.LOSE_REPLY:
                return self._network(fault)
            case Kind.CLOCK:
                self._actor(fault.target).set_clock(HOUR if self._trial.schedule.number % 2 else -HOUR)
            case Kind.NEXT_VERSION:
                pass  # it was started so
            case Kind.NEXT_SCHEMA:
                return lambda: self._downgrade(fault.target)
            case Kind.DISK_FULL:
                return self._fill_disk()
            case Kind.SECOND | Kind.SECOND_ON_FILE:
                return self._second(fault)
        return None

    def _actor(self, name: str) -> Actor:
        return self._trial.actors[name]

    def _pid(self, name: str) -> int:
        pid = self._actor(name).pid
        if pid is None:
            raise NotThere
        return pid

    def _signal(self, fault: Fault) -> Mend | None:
        role, _, number = fault.target.partition("-")
        if role == "child":  # the first one of that worker
            children = self._actor(f"worker-{number}").children()
            if not children:
                raise NotThere
            pid = children[0]
            os.kill(pid, SIGNALS[fault.kind])
        else:
            pid = self._pid(fault.target)
            self._actor(fault.target).signal(SIGNALS[fault.kind])
        return partial(_thaw, pid) if fault.kind is Kind.FREEZE else None

    def _network(self, fault: Fault) -> Mend | None:
        proxy = self._trial.proxies[fault.target]
        match fault.kind:
            case Kind.CUT:
                proxy.cut()
            case Kind.LOSE_REPLY:
                proxy.lose_reply()
            case Kind.HOLD:
                proxy.hold()
                return proxy.restore
            case Kind.DELAY:
                proxy.delay(fault.seconds / 10)
                return proxy.restore
        return None

    def _fill_disk(self) -> Mend:
        """No file of the ledger may grow: to SQLite, a disk that refuses."""
        pid = self._pid(LEDGER)
        wal = Path(f"{self._trial.ledger_path}-wal")
        if not wal.exists():
            raise NotThere
        limit_files(pid, wal.stat().st_size)

        def free() -> None:
            with contextlib.suppress(ProcessLookupError):
                limit_files(pid, resource.RLIM_INFINITY)

        return free

    def _second(self, fault: Fault) -> Mend:
        """The same program once more, by mistake, until somebody notices."""
        name = f"{fault.target}-{len(self._trial.actors)}"
        if fault.target == LEDGER:
            own = self._trial.folder / f"{name}.sqlite" if fault.kind is Kind.SECOND else None
            self._trial.add(name, "scripts.ledger", ledger_path=own)
        else:
            self._trial.add(name, "scripts.seed", done=0)

        return self._actor(name).ask_to_end

    def _downgrade(self, name: str) -> None:
        """Take back the upgrade of a program."""
        actor = self._actor(name)
        actor.plan = replace(actor.plan, schema=0)
        actor.signal(signal.SIGTERM)

    def _rotate(self) -> None:
        """A new password: programs find it in their file, the broker asks for it, and old connections end."""
        password = secrets.token_hex(8)
        self._trial.password_file.write_text(password)
        self._server.set_password(password)
        self._server.drop_connections()

    def restore_password(self) -> None:
        if self._server.password != PASSWORD:
            self._trial.password_file.write_text(PASSWORD)
            self._server.set_password(PASSWORD)


def _thaw(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
