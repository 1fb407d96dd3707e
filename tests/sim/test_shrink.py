"""A rule broken on purpose: the simulator finds it, and cuts the scenario down to what shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from streams.coordinator.core import membership
from tests.sim import scenario as faults
from tests.sim.scenario import SMALL, draw
from tests.sim.shrink import fewer, shrink, story
from tests.sim.simulator import World, failure_of, simulate


def test_a_worker_whose_loss_is_never_noticed_is_found_and_shown_in_a_few_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the core does about silence is left out: the first scenario in which somebody dies for good shows it."""
    monkeypatch.setattr(membership, "forget", lambda *anything, **named: [])
    drawn = next(
        found
        for found in (draw(seed, replace(SMALL, faults=12)) for seed in range(50))
        if failure_of(found) is not None
    )
    short = shrink(drawn, lambda scenario: failure_of(scenario) is not None)
    assert failure_of(short) is not None
    assert len(short.faults) <= 2
    assert len(short.jobs) <= 2
    assert len(story(short).splitlines()) <= 5
    monkeypatch.undo()
    World(short).run()


def test_a_failing_seed_says_how_to_run_it_and_what_it_comes_down_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "forget", lambda *anything, **named: [])
    seed = next(seed for seed in range(50) if failure_of(draw(seed, SMALL)) is not None)
    with pytest.raises(AssertionError, match=f"simulator {seed} --size small") as caught:
        simulate(seed, SMALL)
    assert "it comes down to" in str(caught.value)


def test_what_is_not_needed_is_left_out() -> None:
    def fails(numbers: Sequence[int]) -> bool:
        return {3, 17} <= set(numbers)

    assert fewer(range(40), fails) == [3, 17]
    assert fewer((3, 17), fails) == (3, 17)


def test_what_was_done_to_a_job_goes_with_it() -> None:
    scenario = replace(draw(1, SMALL), faults=(faults.CancelJob(1.0, "j0"), faults.CancelJob(1.0, "j1")))
    assert shrink(scenario, lambda left: any(plan.name == "j1" for plan in left.jobs)).faults == ()
