"""The wall clock jumps by an hour: nobody is convicted, no retry is forgotten, no order is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.errors import ErrorKind
from schemas.job import JobStatus
from schemas.stage import Stage
from streams.coordinator.core.retry import LONGEST_DELAY, is_due
from tests.sim import scenario as faults
from tests.sim.scenario import SMALL, draw
from tests.sim.simulator import World

HOUR = 3600.0


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("seed", range(10))
def test_a_jump_of_an_hour_costs_no_work_and_no_time(seed: int, jump: float) -> None:
    drawn = draw(seed, SMALL)
    plans = tuple(
        replace(plan, kills=None, rots=None, fails=(Stage.DENOISE, ErrorKind.INFRASTRUCTURE, 2)) for plan in drawn.jobs
    )
    there_and_back = (faults.StepClock(10.0, jump), faults.StepClock(40.0, -jump))
    world = World(replace(drawn, jobs=plans, faults=there_and_back)).run()
    for state in world.checker.states.values():
        assert state.status is JobStatus.COMPLETED
        assert [record.dispatches for record in state.stages.values()] == [1, 3, 1, 1]


@pytest.mark.parametrize(
    ("not_before", "due"),
    [(0.0, True), (1000.0, True), (1001.0, False), (1000.0 + LONGEST_DELAY, False), (1000.0 + HOUR, True)],
)
def test_a_retry_waits_for_its_delay_and_never_for_a_clock_that_was_wrong(not_before: float, due: bool) -> None:
    assert is_due(not_before, 1000.0) is due
