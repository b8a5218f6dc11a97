"""What a run is: the parameters and the function that give it its name, and the code that computes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from scripts.parameters import ParameterSpace
from worker.config import Settings
from worker.task import stamp


@dataclass(frozen=True, slots=True)
class Specification:
    """One run. Two specifications with the same `run` and different `stamp` are one run and changed code.

    Attributes:
        run: its name: the user's, or a hash of task, parameter space and seed. The code is not in it: code that changed
            under a run is to be noticed, not to begin another run.
        stamp: what computes (`worker.task.stamp`).
        task: `module:function`.
        space: digest of the parameter space.
        description: the parameter space, for people.
        total: number of parameters.
        seed: the run's seed.
    """

    run: str
    stamp: str
    task: str
    space: str
    description: str
    total: int
    seed: int

    @classmethod
    def from_settings(cls, settings: Settings, space: ParameterSpace) -> Specification:
        """The run that `settings` ask for over the parameters of `space`.

        Raises:
            SettingsError: no task is set.
            TaskError: the task's module cannot be found.
        """
        settings.require("task")
        digest = hashlib.sha256("\0".join([settings.task, space.digest, str(settings.seed)]).encode()).hexdigest()
        return cls(
            run=settings.run_id or f"run-{digest[:10]}",
            stamp=stamp(settings.task, settings.seed, settings.task_version),
            task=settings.task,
            space=space.digest,
            description=space.describe(),
            total=space.total,
            seed=settings.seed,
        )

    def __str__(self) -> str:
        return f"run {self.run} ({self.task} over {self.description}, seed {self.seed})"

    def is_same_run(self, other: Specification) -> bool:
        """Whether both mean the same values, the code left aside."""
        return (self.run, self.task, self.space, self.total, self.seed) == (
            other.run,
            other.task,
            other.space,
            other.total,
            other.seed,
        )
