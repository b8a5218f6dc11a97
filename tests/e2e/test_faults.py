"""A few of the faults of `make faults-cluster`, so that the suite itself stays right."""

from __future__ import annotations

import pytest

from tests.faults.cluster.faults import FAULTS
from tests.faults.cluster.ground import Ground
from tests.faults.cluster.trial import Trial

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.mark.usefixtures("needs_cluster")
@pytest.mark.parametrize(("backend", "name"), [("redis", "worker"), ("rabbitmq", "partition")])
def test_a_run_under_a_fault_accounts_for_every_parameter(backend: str, name: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    with Ground(backend) as ground:
        outcome = Trial(ground, fault, name, print).run()
        assert outcome.problems == [], ground.release.report()
    assert outcome.recovery is not None
