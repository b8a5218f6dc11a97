"""The image: small, without an installer, without root; and one made FROM it, as the README shows, runs a task of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import IMAGE

BASE = "python:3.13-slim"
OWN = "ttg-e2e-own-task:dev"
MOST_BYTES = 120 * 10**6
RESTRICTED = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("needs_cluster")]


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def own_image(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "my_task.py").write_text("def cube(parameter):\n    return parameter**3\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY my_task.py ./\n")
    docker("build", "--quiet", "--tag", OWN, str(tmp_path))
    yield OWN
    docker("image", "rm", "--force", OWN)


def test_it_adds_little_to_its_base() -> None:
    size, base = (int(docker("image", "inspect", "--format", "{{.Size}}", image)) for image in (IMAGE, BASE))
    assert size - base < MOST_BYTES


def test_it_is_nobody_and_has_no_installer() -> None:
    assert docker("image", "inspect", "--format", "{{.Config.User}}", IMAGE) == "10001:10001"
    found = docker("run", *RESTRICTED, IMAGE, "python", "-c", "import importlib.util as u; print(u.find_spec('pip'))")
    assert found == "None"


def test_an_image_from_it_runs_a_task_of_its_own(own_image: str) -> None:
    command = ("python", "-m", "scripts.local", "--task", "my_task:cube", "--count", "10", "--only", "3")
    assert "value: 27" in docker("run", *RESTRICTED, own_image, *command)
