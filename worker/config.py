"""Settings: the only reader of the environment, and the one table of names, defaults and meanings.

`docs/settings.md` is made from this table (`python -m scripts.settings`), and a test compares the two.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from worker.errors import SettingsError, shorten
from worker.messages import LARGEST_CHUNK
from worker.retry import LONGEST_DELAY, Policy
from worker.space import MOST_PARAMETERS

Value = TypeVar("Value")
Parser = Callable[[str], Any]


def setting(default: Value, parse: Parser, meaning: str) -> Value:
    """A field of `Settings`. Its environment variable is its name in capitals; an empty variable is an unset one."""
    value: Value = field(default=default, metadata={"parse": parse, "meaning": meaning})
    return value


def _integer(least: int, most: int = MOST_PARAMETERS) -> Parser:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ValueError(f"is not a whole number of at least {least}")
        if value > most:
            raise ValueError(f"is more than {most}")
        return value

    return parse


def _seconds(least: float, most: float = LONGEST_DELAY) -> Parser:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"is not a number of seconds of at least {least:g}")
        if value > most:
            raise ValueError(f"is more than {most:.0f} seconds")
        return value

    return parse


def _delays(text: str) -> tuple[float, ...]:
    return tuple(_seconds(0.001)(part) for part in text.split(","))


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither true nor false")


def _one_of(*choices: str) -> Parser:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return text

    return parse


def _url(*schemes: str) -> Parser:
    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            is_one = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError:  # its words may hold the password
            is_one = False
        if not is_one:
            raise ValueError(
                f"is not a URL of the form {schemes[0]}://host:port/... (in a password, write % and two hexadecimal digits for "
                "any of / ? # [ ] @ %)"
            )
        return text

    return parse


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", text):
        raise ValueError("is not a name of up to 63 letters, digits, '-' and '_' that begins with a letter or digit")
    return text


@dataclass(frozen=True, slots=True)
class Settings:
    """What a program is told. Seconds are seconds; MB are 2**20 bytes; 0 means no limit where that makes sense."""

    queue_backend: str = setting("redis", _one_of("redis", "rabbitmq"), "The broker: `redis` or `rabbitmq`.")
    redis_url: str = setting(
        "redis://localhost:6379/0",
        _url("redis", "rediss"),
        "Where Redis (6.2 or newer) or Valkey is; `rediss://` for TLS.",
    )
    rabbitmq_url: str = setting(
        "amqp://localhost:5672/%2F",
        _url("amqp", "amqps"),
        "Where RabbitMQ (3.10 or newer) is, and the vhost; `amqps://` for TLS.",
    )
    broker_username: str = setting("", str, "User name at the broker, instead of the one in the URL.")
    broker_password: str = setting("", str, "Password at the broker, instead of the one in the URL.")
    broker_password_file: str = setting("", str, "File that holds the password, instead of `BROKER_PASSWORD`.")
    broker_ca_file: str = setting("", str, "Certificate authorities that a TLS broker is verified against; empty: the system's.")
    task: str = setting("", str, "The function, `module:function`; found from the current directory.")
    task_version: str = setting(
        "", str, "Your own label for what the source hash of the task cannot see (image, data, libraries)."
    )
    accept_changed_code: bool = setting(
        False, _boolean, "Go on with a run that other code began; the ledger keeps which indices."
    )
    run_id: str = setting("", _run_id, "Name of the run; empty: a hash of its specification.")
    seed: int = setting(0, _integer(0), "The run's seed, from which `context.seed` is made.")
    seed_globals: bool = setting(
        False, _boolean, "Also seed `random` and NumPy's global generator from `context.seed` before each parameter."
    )
    parameter_count: int = setting(0, _integer(0), "Parameter space `count`: this many parameters, each the index itself.")
    parameter_grid: str = setting("", str, "Parameter space `grid`: `a=0:4:1000,b=0:4:1000` (name=first:last:steps).")
    parameter_file: str = setting("", str, "Parameter space `file`: a `.csv` or `.jsonl` file, one parameter a line.")
    chunk_size: int = setting(
        100, _integer(1, LARGEST_CHUNK), f"Parameters that travel as one message, at most {LARGEST_CHUNK:,}."
    )
    max_attempts: int = setting(0, _integer(0), "Attempts a parameter has; 0: one more than `RETRY_DELAYS` has steps.")
    retry_delays: tuple[float, ...] = setting(
        (1.0, 5.0, 25.0), _delays, "Seconds before the 2nd, 3rd, ... attempt; the last one repeats."
    )
    max_deliveries: int = setting(
        3,
        _integer(1),
        "Times a chunk may take its worker down before it is split, and a parameter alone before that is an attempt.",
    )
    lease_seconds: float = setting(
        10.0, _seconds(0.1), "How long a worker may be silent before its chunk goes to another (Redis)."
    )
    time_limit_seconds: float = setting(0.0, _seconds(0.0), "Seconds one parameter may take; 0: no limit.")
    memory_limit_mb: int = setting(0, _integer(0), "Memory of one child process, in MB; 0: no limit.")
    worker_concurrency: int = setting(1, _integer(1), "Child processes a worker computes with.")
    prefetch: int = setting(2, _integer(1), "Chunks each child process has in hand, the one being computed included.")
    grace_seconds: float = setting(
        25.0, _seconds(0.0), "After SIGTERM: how long to go on with the current chunk before it is given back."
    )
    report_seconds: float = setting(
        3.0, _seconds(0.1), "Seconds between two signs of life of a worker that has no results to send."
    )
    max_message_bytes: int = setting(
        8 * 2**20,
        _integer(65_536),
        "Longest message; results are split to fit, a longer value is an error of its parameter.",
    )
    worker_name: str = setting("", str, "Name of the worker; empty: the host's name.")
    node_name: str = setting("", str, "Name of the machine it runs on; empty: the host's name.")
    state_file: str = setting("", str, "File that a worker keeps its state in, for a probe; empty: none.")
    ledger_path: str = setting("ledger.sqlite", str, "The ledger's SQLite file.")
    ledger_host: str = setting("127.0.0.1", str, "Address the ledger listens on.")
    ledger_port: int = setting(8080, _integer(0, 65_535), "Port the ledger listens on; 0: any free one.")
    ledger_url: str = setting(
        "http://127.0.0.1:8080", _url("http", "https"), "Where `ttg watch`, `dead` and `results` find the ledger."
    )
    repair_seconds: float = setting(
        10.0, _seconds(0.1), "Quiet time after which the ledger publishes again what is missing; doubles."
    )
    log_level: str = setting("INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR"), "Least severity that is logged.")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """The settings in `environ`.

        Raises:
            SettingsError: a value cannot be used; the sentence names the variable, the value and what would do.
        """
        values: dict[str, Any] = {}
        for item in fields(cls):
            text = environ.get(item.name.upper(), "")
            if not text:
                continue
            try:
                if text.encode(errors="ignore").decode() != text:
                    raise ValueError("is not UTF-8")
                values[item.name] = item.metadata["parse"](text)
            except ValueError as error:
                raise SettingsError(f"{item.name.upper()}={_shown(item.name, text)} {error}") from None
        return cls(**values)

    @property
    def policy(self) -> Policy:
        return Policy(self.retry_delays, self.max_attempts or len(self.retry_delays) + 1)

    @property
    def broker_url(self) -> str:
        """The URL of the chosen broker; print `without_password(settings.broker_url)`."""
        return self.redis_url if self.queue_backend == "redis" else self.rabbitmq_url

    @property
    def password(self) -> str:
        """The password that overrides the one in the URL; empty if none does.

        Raises:
            SettingsError: its file cannot be read.
        """
        if not self.broker_password_file:
            return self.broker_password
        try:
            with open(self.broker_password_file, encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise SettingsError(f"BROKER_PASSWORD_FILE={self.broker_password_file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"BROKER_PASSWORD_FILE={self.broker_password_file} does not hold a password in UTF-8") from None

    @property
    def worker(self) -> str:
        return self.worker_name or socket.gethostname()

    @property
    def node(self) -> str:
        return self.node_name or socket.gethostname()

    def for_run(self, run: str) -> Settings:
        """These settings with the run's name filled in."""
        return replace(self, run_id=run)

    def require(self, *names: str) -> None:
        """Check that the settings `names` are set.

        Raises:
            SettingsError: one is not.
        """
        for name in names:
            if not getattr(self, name):
                raise SettingsError(f"{name.upper()} is not set; {self.meaning(name)}")

    @classmethod
    def meaning(cls, name: str) -> str:
        return next(str(item.metadata["meaning"]) for item in fields(cls) if item.name == name)


URLS = ("redis_url", "rabbitmq_url", "ledger_url")


def _shown(name: str, text: str) -> str:
    """The value of a setting, fit for a sentence."""
    if name == "broker_password":
        return "***"
    return shorten(without_password(text) if name in URLS else text, 200)


def without_password(url: str) -> str:
    """`url` with its password hidden, for logs and sentences."""
    return re.sub(r"(?s)//([^:]*):.*@|^(?!\w+://).*@", r"//\1:***@", url)
