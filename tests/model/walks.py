"""Ways through a world. Each ends with a run that is left alone, and must become complete."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.model.world import OUTCOMES, Shape, Step, World


class Disturbance(NamedTuple):
    """What happens, after so many steps of an orderly run, instead of its next one."""

    moment: int
    step: Step


def disturbances(shape: Shape) -> Iterator[Disturbance]:
    """Everything that can happen at each moment of an orderly run."""
    with World(shape) as world:
        while not world.is_complete():
            orderly = world.orderly()
            yield from (Disturbance(len(world.history), step) for step in world.options() if step != orderly)
            world.take(orderly)


def disturbed(shape: Shape, disturbance: Disturbance) -> World:
    """An orderly run with one disturbance, at its end."""
    with World(shape) as world:
        while len(world.history) < disturbance.moment:
            world.take(world.orderly())
        world.take(disturbance.step)
        world.complete()
    return world


def walk(seed: int, steps: int = 60) -> World:
    """Some orderly steps, any one, and so on, `steps` or a few more, before the run is left alone, at its end."""
    dice = random.Random(seed)
    with World(Shape(dice.random() < 0.5, tuple(dice.choices(sorted(OUTCOMES), k=6)))) as world:
        while len(world.history) < steps:
            for _ in range(dice.choice((0, 0, 1, 3, 10))):
                world.take(world.orderly())
            world.take(dice.choice(world.options()))
        world.complete()
    return world


def replay(shape: Shape, told: str) -> World:
    """The history that a broken rule tells, one step a line, taken again."""
    with World(shape) as world:
        for line in told.splitlines():
            world.take(Step(*line.split(" ")))
    return world
