"""Settings: one sentence for each thing that cannot be used."""

from __future__ import annotations

import contextlib
import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config import Settings, without_password
from worker.errors import SettingsError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environ({}) == Settings()
    assert Settings.from_environ({"CHUNK_SIZE": ""}) == Settings()


def test_every_setting_is_read_from_its_name_in_capitals() -> None:
    settings = Settings.from_environ({"QUEUE_BACKEND": "rabbitmq", "RETRY_DELAYS": "0.5,2", "MEMORY_LIMIT_MB": "64"})
    assert (settings.queue_backend, settings.retry_delays, settings.memory_limit_mb) == ("rabbitmq", (0.5, 2.0), 64)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("QUEUE_BACKEND", "kafka", "is not one of redis, rabbitmq"),
        ("CHUNK_SIZE", "-5", "is not a whole number of at least 1"),
        ("CHUNK_SIZE", "ten", "is not a whole number of at least 1"),
        ("CHUNK_SIZE", "1000001", "is more than 1000000"),
        ("SEED", str(2**63), "is more than 9223372036854775807"),
        ("LEDGER_PORT", "65536", "is more than 65535"),
        ("RETRY_DELAYS", "1,1e300", "is more than 2592000 seconds"),
        ("LEASE_SECONDS", "0", "is not a number of seconds of at least 0.1"),
        ("LEASE_SECONDS", "nan", "is not a number of seconds of at least 0.1"),
        ("RETRY_DELAYS", "1,,5", "is not a number of seconds"),
        ("RUN_ID", "a b", "is not a name"),
        ("REDIS_URL", "localhost:6379", "is not a URL of the form redis://"),
        ("REDIS_URL", "redis://h:99999", "is not a URL"),
        ("RABBITMQ_URL", "redis://h", "is not a URL of the form amqp://"),
        ("SEED_GLOBALS", "maybe", "is neither true nor false"),
        ("LOG_LEVEL", "loud", "is not one of DEBUG"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({name: value})
    assert str(caught.value).startswith(f"{name}={value} ")
    assert remedy in str(caught.value)


def test_a_password_never_appears_in_a_sentence() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"REDIS_URL": "http://user:hush@host"})
    assert "hush" not in str(caught.value)
    for password in ("a/hush", "a#hush", "℀hush", "a\nhush", "[hush"):
        for name in ("REDIS_URL", "RABBITMQ_URL", "LEDGER_URL"):
            with pytest.raises(SettingsError, match="in a password, write %") as caught:
                Settings.from_environ({name: f"redis://user:{password}@host:x"})
            assert "hush" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"BROKER_PASSWORD=\*\*\* is not UTF-8"):
        Settings.from_environ({"BROKER_PASSWORD": os.fsdecode(b"hush\xff")})
    assert without_password("redis://@:hush@host") == "redis://@:***@host"
    assert without_password("amqps://user:p@ss:word@host:5671/%2F") == "amqps://user:***@host:5671/%2F"
    assert without_password("redis://host:6379/0") == "redis://host:6379/0"


def test_a_password_file_goes_before_the_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush\n")
    settings = Settings.from_environ({"BROKER_PASSWORD": "other", "BROKER_PASSWORD_FILE": str(tmp_path / "password")})
    assert settings.password == "hush"
    with pytest.raises(SettingsError, match="BROKER_PASSWORD_FILE=/nowhere cannot be read"):
        _ = Settings.from_environ({"BROKER_PASSWORD_FILE": "/nowhere"}).password
    (tmp_path / "password").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="does not hold a password in UTF-8"):
        _ = settings.password


def test_a_value_that_is_not_utf_8_is_refused_and_a_long_one_is_cut() -> None:
    with pytest.raises(SettingsError, match=r"WORKER_NAME=caf\\udce9 is not UTF-8"):
        Settings.from_environ({"WORKER_NAME": os.fsdecode(b"caf\xe9")})
    with pytest.raises(SettingsError, match=r"^CHUNK_SIZE=9{199}… is not a whole number"):
        Settings.from_environ({"CHUNK_SIZE": "9" * 5_000})


def test_what_is_required_and_missing_is_named_with_its_meaning() -> None:
    with pytest.raises(SettingsError, match=r"TASK is not set; The function, `module:function`"):
        Settings().require("task")


def test_the_ladder_sets_the_attempt_limit_unless_it_is_given() -> None:
    assert Settings.from_environ({"RETRY_DELAYS": "1,2"}).policy.max_attempts == 3
    assert Settings.from_environ({"RETRY_DELAYS": "1,2", "MAX_ATTEMPTS": "7"}).policy.max_attempts == 7


@given(st.sampled_from([item.name.upper() for item in fields(Settings)]), st.text(max_size=30))
def test_no_value_makes_reading_fail_in_another_way(name: str, value: str) -> None:
    with contextlib.suppress(SettingsError):
        Settings.from_environ({name: value})
