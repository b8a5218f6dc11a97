"""Ways through a world: an orderly run that is disturbed, and random walks. Each leaves the run alone in the end."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.model.world import Shape, Step, World

Disturbance = tuple[int, Step]
"""After how many steps of the run, and what happens there instead of what an orderly run does."""


def disturb(world: World, disturbances: Sequence[Disturbance]) -> None:
    """Orderly steps up to each of `disturbances`, which ascend, and that one."""
    for moment, step in disturbances:
        while len(world.history) < moment:
            world.take(world.orderly())
        world.take(step)


def disturbances(shape: Shape, *before: Disturbance) -> Iterator[tuple[Disturbance, ...]]:
    """`before`, and one more: everything that can happen at each moment from there on until the run is complete."""
    with World(shape) as world:
        disturb(world, before)
        while not world.is_complete():
            orderly = world.orderly()
            yield from ((*before, (len(world.history), step)) for step in world.options() if step != orderly)
            world.take(orderly)


def walk(world: World, dice: random.Random, steps: int) -> None:
    """Some orderly steps, any one, and so on: at least `steps` in all."""
    while len(world.history) < steps:
        for _ in range(dice.choice((0, 0, 1, 3, 10))):
            world.take(world.orderly())
        world.take(dice.choice(world.options()))


def replay(world: World, history: str) -> None:
    """The steps that a failure tells, one a line."""
    for line in history.splitlines():
        world.take(Step(*line.split(" ")))
