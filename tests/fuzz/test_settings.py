"""Whatever an environment holds: settings that can be used, or one sentence that names the variable and no password."""

from __future__ import annotations

from dataclasses import fields
from itertools import product
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.parameters import from_settings, parse_grid
from worker.config import Settings, without_password
from worker.errors import SettingsError
from worker.retry import Failed, decide
from worker.space import MOST_PARAMETERS, Grid

NAMES = [item.name.upper() for item in fields(Settings)]
NASTY = [
    *("0", "-1", "1e3", "1e308", "1e309", "nan", "-inf", "1_0", " 7 ", "٣", "²", "0x10", "1" * 19, "9" * 4_300, "9" * 5_000),
    *("true", "\n", "a\nb", "\ud800", "\udcff", "é" * 100_000, "/", "/nowhere", ":", "a:", ":b", "1,", "1,-1", ",", "1,nan"),
    *(
        "redis://",
        "redis://:",
        "redis://[",
        "redis://h:0",
        "redis://h:99999",
        "redis://h:1:2",
        "redis://℀",
        "//h",
        "amqp://h/%zz",
    ),
]
PIECES = [
    "=",
    ":",
    ",",
    "a",
    "b",
    " ",
    "\t",
    "\n",
    "0",
    "1",
    "-1",
    "1.5",
    "1e308",
    "-1e308",
    "1e-320",
    "nan",
    "9" * 19,
    "9" * 5_000,
]
HUSH = "hush"


def variables() -> st.SearchStrategy[str]:
    """What may stand in a variable: anything but NUL. Bytes that are not UTF-8 arrive as half surrogates."""
    return st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=50)


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_with_a_nasty_value_gives_settings_or_a_sentence(name: str) -> None:
    for text in NASTY:
        read(name, text)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(NAMES), variables())
def test_a_variable_with_any_text_gives_settings_or_a_sentence(name: str, text: str) -> None:
    read(name, text)


def read(name: str, text: str) -> None:
    try:
        given = Settings.from_environ({name: text})
    except SettingsError as error:
        refusal = str(error)
    else:
        use(given)
        return
    assert refusal.startswith(f"{name}=")
    assert len(refusal.encode()) < 1_000


def use(given: Settings) -> None:
    """What the programs ask the settings for."""
    assert given.policy.max_attempts >= 1
    assert (decide(Failed("no"), 1, given.policy) or 0.0) <= 2**32 / 1000  # the longest delay that RabbitMQ has
    assert urlsplit(given.broker_url).hostname
    assert given.worker.encode()
    try:
        assert given.password.encode() or not given.broker_password
    except SettingsError as error:
        refusal = str(error)
        assert refusal.startswith("BROKER_PASSWORD_FILE=")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=20))
def test_a_password_file_with_any_bytes_gives_a_password_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "password"
    path.write_bytes(content)
    use(Settings(broker_password_file=str(path)))


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["redis_url", "rabbitmq_url", "ledger_url"]),
    st.sampled_from(["redis://", "amqp://", "http://", "rediss:/", "", "://", "a+b://"]),
    st.text(":/@a%", max_size=3),
    st.text(":/@?#[]\n ℀é%", max_size=3),
    st.text(":/@?#[]\n ℀é%", max_size=3),
    st.sampled_from(["host", "host:6379/0", "host:x", "[::1]", "[", "", "h/@", "host?a=b@c"]),
)
def test_no_sentence_shows_a_password(name: str, scheme: str, user: str, before: str, after: str, rest: str) -> None:
    url = f"{scheme}{user}:{before}{HUSH}{after}@{rest}"
    assert HUSH not in without_password(url)
    try:
        Settings.from_environ({name.upper(): url})
    except SettingsError as error:
        refusal = str(error)
        assert HUSH not in refusal


def test_a_grid_of_nasty_numbers_gives_parameters_or_a_sentence() -> None:
    for first, last, steps in product(PIECES, repeat=3):
        grid(f"a={first}:{last}:{steps},b=0:1:2")
    grid(",".join(f"a{number}=0:1:{MOST_PARAMETERS}" for number in range(300)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | variables(), max_size=12).map("".join))
def test_a_grid_of_any_text_gives_parameters_or_a_sentence(text: str) -> None:
    grid(text)


def grid(text: str) -> None:
    try:
        space = from_settings(Settings(parameter_grid=text or "a"))
    except SettingsError as error:
        refusal = str(error)
        assert "PARAMETER_GRID" in refusal
        assert len(refusal.encode()) < 1_000
        return
    last = space.total - 1
    carried = space.space_of(((last, last + 1),))
    assert isinstance(carried, Grid)
    for index in (0, last // 2, last):
        (parameter,) = carried.parameters(((index, index + 1),))
        ends = {axis.name: sorted((axis.first, axis.last)) for axis in carried.axes}
        assert all(low <= value <= high for (low, high), value in zip(ends.values(), parameter.values(), strict=True))
    assert parse_grid(space.describe().removeprefix("grid ").replace(" x ", ",")) == carried
    assert len(space.digest) == 64
