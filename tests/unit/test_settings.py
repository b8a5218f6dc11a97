"""The page of settings."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from scripts.settings import page
from worker.config import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m scripts.settings > docs/settings.md"


def test_every_default_may_be_written_as_it_is_shown() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(.*)`)? \|", page(), flags=re.MULTILINE))
    assert list(rows) == [item.name.upper() for item in fields(Settings)]
    assert Settings.from_environ(rows) == Settings()
