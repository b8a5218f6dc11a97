"""Any order of steps, as a Hypothesis state machine: what fails is shrunk to a short history."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model.world import OUTCOMES, Shape, Step, World


def some(*actions: str) -> Callable[[Exploration, st.DataObject], None]:
    """A rule: any step that may be taken now and is one of `actions`. The world checks its own rules after it."""

    def take(machine: Exploration, data: st.DataObject) -> None:
        machine.take(data.draw(st.sampled_from([step for step in machine.options if step.action in actions])))

    return precondition(lambda machine: any(step.action in actions for step in machine.options))(rule(data=st.data())(take))


class Exploration(RuleBasedStateMachine):
    """One history; at its end the run is left alone, and must become complete."""

    world: World
    options: list[Step]

    @initialize(leases=st.booleans(), natures=st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=6, max_size=6))
    def begin(self, leases: bool, natures: list[str]) -> None:
        self.world = World(Shape(leases, tuple(natures)))
        self.options = self.world.options()

    def take(self, step: Step) -> None:
        self.world.take(step)
        self.options = self.world.options()

    @rule(steps=st.integers(1, 20))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.take(self.world.orderly())

    run = some("run")
    compute = some("compute")
    lose_setup = some("unready", "ready")
    strike = some("kill", "cut")
    fail = some("fail")
    operate = some("start", "terminate", "revive")
    disturb_broker = some("down", "up")
    let_time_pass = some("pass")

    def teardown(self) -> None:
        try:
            if self.world.is_sound:
                self.world.complete()
        finally:
            self.world.close()
