"""Finished work that waits for the store: it frees its slot, outlives its worker, and is redone only when overdue."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from schemas.events.reports import HeldLease, HeldState, Started
from schemas.events.tasks import CancelTask, Task
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.core.effects import Effect, Send
from tests.sim import scenario as faults
from tests.sim.child import STEP_SECONDS
from tests.sim.played_line import PROMPT, Line, done, names
from tests.sim.scenario import SMALL, draw
from tests.sim.simulator import World


def line_with_task() -> tuple[Line, Task]:
    """One worker whose task has started."""
    line = Line()
    line.submit()
    line.beat("a")
    line.tick(after_gap=True)
    for number in range(5):
        line.tick(number)
    line.beat("a")
    task = line.task()
    line.report(Started(**names(task)))
    return line, task


def parked(task: Task) -> HeldLease:
    return HeldLease(lease=task.lease, job=task.job, stage=task.stage, state=HeldState.PARKED, step=12)


def wait(line: Line, task: Task, ticks: int, elsewhere: bool, slots: int = 0) -> list[Effect]:
    """Heartbeats and ticks for so long; a second worker reaches the store or does not."""
    effects = []
    for number in range(ticks):
        line.now += 1
        line.beat("a", parked(task), echo=task.lease, slots=slots)
        line.beat("b", slots=1 if elsewhere else 0)
        effects += line.tick(number)
    return effects


def state_of(line: Line) -> JobState:
    return line.ledger.jobs[line.job]


def outcomes(line: Line) -> list[str]:
    return [attempt.outcome for attempt in state_of(line).attempts]


def test_parked_work_takes_no_slot() -> None:
    line, task = line_with_task()
    line.submit(PROMPT.model_copy(update={"idempotency_key": "two"}))
    line.beat("a", parked(task), echo=task.lease)
    assert line.task().job != task.job


def test_parked_work_keeps_its_lease_while_nobody_reaches_the_store() -> None:
    line, task = line_with_task()
    wait(line, task, 300, elsewhere=False)
    assert outcomes(line) == []
    line.report(done(task))
    assert outcomes(line) == ["done"]


def test_parked_work_is_done_again_only_when_overdue_and_the_first_manifest_wins() -> None:
    line, task = line_with_task()
    wait(line, task, 60, elsewhere=True)
    assert outcomes(line) == []
    effects = wait(line, task, 3, elsewhere=True)
    assert outcomes(line) == ["overdue"]
    again = line.task()
    assert again.incarnation == "b-1"
    effects += wait(line, task, 3, elsewhere=True)
    assert not any(isinstance(effect, Send) for effect in effects), "the parked result may still be the first"
    line.report(done(task))
    assert state_of(line).stages[Stage.ENCODE].artifact is not None
    assert outcomes(line) == ["overdue", "superseded"]


def test_what_took_longer_to_compute_waits_as_long() -> None:
    line, task = line_with_task()
    running = HeldLease(lease=task.lease, job=task.job, stage=task.stage, state=HeldState.RUNNING)
    for number in range(200):
        line.beat("a", running, echo=task.lease)
        line.tick(number)
    wait(line, task, 199, elsewhere=True)
    assert outcomes(line) == []
    wait(line, task, 5, elsewhere=True)
    assert outcomes(line) == ["overdue"]


def test_a_new_life_that_lists_parked_work_has_its_lease() -> None:
    line, task = line_with_task()
    line.beat("a", parked(task), echo=task.lease)
    effects = line.beat("a", parked(task), life=2)
    lease = state_of(line).lease
    assert lease is not None
    assert (lease.number, lease.incarnation) == (task.lease, "a-2")
    assert not any(isinstance(effect, Send) and isinstance(effect.event, CancelTask) for effect in effects)
    line.report(done(task.model_copy(update={"incarnation": "a-2"})))
    assert state_of(line).stages[Stage.ENCODE].artifact is not None


def test_parked_work_that_vanishes_with_its_worker_is_no_suspicion() -> None:
    line, task = line_with_task()
    line.beat("a", parked(task), echo=task.lease)
    line.beat("a", life=2)
    assert outcomes(line) == ["lost"]
    assert state_of(line).stages[Stage.ENCODE].suspicions == 0


def test_parked_work_that_nobody_wants_is_cancelled() -> None:
    line, task = line_with_task()
    line.beat("a", parked(task), echo=task.lease)
    line.report(done(task))
    effects = line.beat("c", parked(task))
    assert [type(effect.event) for effect in effects if isinstance(effect, Send)] == [CancelTask]


# -- in the simulator ----------------------------------------------------------------------------------------------


def lost_stores(seed: int, names: list[str]) -> tuple[faults.LoseStore, ...]:
    """Short and long absences, of one worker or of all of them at once."""
    chance = random.Random(f"stores {seed}")
    found = []
    for _ in range(chance.randint(1, 4)):
        at, seconds = chance.uniform(0, 50), chance.choice((2.0, 15.0, 60.0, 100.0))
        found += [faults.LoseStore(at, name, seconds) for name in chance.choice((names, chance.sample(names, 1)))]
    return tuple(found)


@pytest.mark.parametrize("seed", range(60))
def test_lines_whose_workers_lose_the_store_under_other_faults(seed: int) -> None:
    drawn = draw(seed, SMALL)
    own = lost_stores(seed, list(drawn.nodes))
    World(replace(drawn, faults=tuple(sorted((*drawn.faults, *own), key=lambda fault: fault.at)))).run()


@pytest.mark.parametrize("seed", range(20))
def test_a_store_away_for_all_for_a_minute_costs_no_step(seed: int) -> None:
    drawn = draw(seed, SMALL)
    harmless = tuple(replace(plan, kills=None, fails=None, rots=None) for plan in drawn.jobs)
    away = tuple(faults.LoseStore(12.0, name, 60.0) for name in drawn.nodes)
    world = World(replace(drawn, jobs=harmless, faults=away)).run()
    for state in world.checker.states.values():
        assert state.status is JobStatus.COMPLETED
        assert world.seconds[state.job, Stage.DENOISE] <= 20 * STEP_SECONDS
        assert {past.outcome for past in state.attempts} <= {"done", "failed"}
