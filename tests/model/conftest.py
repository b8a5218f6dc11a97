"""What the tests of this folder have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.model.world import miniature


@pytest.fixture(autouse=True)
def _miniature() -> Iterator[None]:
    with miniature():
        yield
