"""The line under faults, in virtual time: many small stories drawn from seeds, some larger ones, a few told by hand."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from schemas.errors import ErrorKind
from schemas.job import JobStatus
from schemas.stage import Stage
from tests.sim import scenario as faults
from tests.sim.child import CHECKPOINT_STEPS, STEP_SECONDS
from tests.sim.scenario import LARGE, MEDIUM, SMALL, JobPlan, Scenario, draw
from tests.sim.simulator import World, simulate
from tests.sim.speed import measure_jobs

SEEDS_A_BLOCK = 25


@pytest.mark.parametrize("block", range(10))
def test_small_lines_under_faults(block: int) -> None:
    for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
        simulate(seed, SMALL)


@pytest.mark.parametrize("seed", range(5))
def test_lines_of_many_workers_under_faults(seed: int) -> None:
    simulate(seed, MEDIUM)


@pytest.mark.long
def test_a_large_line_under_faults() -> None:
    simulate(1, LARGE)


def test_a_scenario_runs_the_same_way_each_time() -> None:
    first, second = simulate(5).logs, simulate(5).logs
    assert first.jobs == second.jobs
    assert first.records == second.records


@pytest.mark.parametrize("seed", range(40))
def test_faults_of_the_coordinator_cost_no_work_and_convict_nobody(seed: int) -> None:
    drawn = draw(seed, replace(SMALL, faults=40))
    harmless = tuple(replace(plan, kills=None, fails=None, rots=None) for plan in drawn.jobs)
    own = tuple(fault for fault in drawn.faults if isinstance(fault, faults.CoordinatorFault | faults.ReplayPrompts))
    world = World(replace(drawn, jobs=harmless, faults=own)).run()
    for state in world.checker.states.values():
        assert state.status is JobStatus.COMPLETED
        assert [record.dispatches for record in state.stages.values()] == [1, 1, 1, 1]


def test_a_long_job_outlives_ten_lost_nodes_while_it_gets_on_and_a_poison_job_is_stopped() -> None:
    """Both vanish with their worker again and again; only one of them leaves checkpoints behind."""
    losses = tuple(faults.LoseNode(at=15.0 + 20 * number, node="n0", back_after=2.0) for number in range(10))
    long = JobPlan("long", at=0.0, prompt="a red square", steps=400)
    poison = JobPlan("poison", at=0.0, prompt="a blue disc", kills=(Stage.DENOISE, 6))
    world = World(Scenario(7, (long, poison), {"w0": "n0", "w1": "n0"}, losses)).run()
    survivor, stopped = (world.checker.states[job] for job in world.plans)
    assert survivor.status is JobStatus.COMPLETED
    assert survivor.stages[Stage.DENOISE].dispatches > len(losses)
    assert world.seconds[survivor.job, Stage.DENOISE] < 400 * 0.5 + (len(losses) + 1) * 3.0
    assert stopped.error is not None
    assert stopped.error.code == "poison_job"
    assert 0 < world.kills[stopped.job] <= world.policy.suspicion_limit + 1


def test_a_long_job_is_handed_on_through_ten_drains_without_losing_a_step() -> None:
    drains = tuple(faults.DrainWorker(at=10.0 + 15 * number, worker="w0", back_after=2.0) for number in range(10))
    plan = JobPlan("long", at=0.0, prompt="a red square", steps=300)
    world = World(Scenario(7, (plan,), {"w0": "n0"}, drains)).run()
    [state] = world.checker.states.values()
    assert state.status is JobStatus.COMPLETED
    assert state.stages[Stage.DENOISE].suspicions == 0
    assert {past.outcome for past in state.attempts} == {"done", "preempted"}
    assert world.seconds[state.job, Stage.DENOISE] == 300 * 0.5


def test_a_long_job_outlives_drains_lost_nodes_and_pauses_mixed_with_progress_between_them() -> None:
    chance = random.Random(11)
    kinds = ["drain", "ask", "lose", "pause"] * 3
    chance.shuffle(kinds)
    blows = tuple(blow_of(kind, 12.0 + 22 * number) for number, kind in enumerate(kinds))
    plan = JobPlan("long", at=0.0, prompt="a red square", steps=600)
    world = World(Scenario(11, (plan,), {"w0": "n0"}, blows)).run()
    [state] = world.checker.states.values()
    assert state.status is JobStatus.COMPLETED
    assert state.stages[Stage.DENOISE].dispatches >= 10
    redone = world.seconds[state.job, Stage.DENOISE] - plan.steps * STEP_SECONDS
    assert redone <= len(blows) * CHECKPOINT_STEPS * STEP_SECONDS


def blow_of(kind: str, at: float) -> faults.Fault:
    if kind == "drain":
        return faults.DrainWorker(at, "w0", back_after=2.0)
    if kind == "ask":
        return faults.AskToLeave(at, "w0", back_after=2.0)
    return faults.LoseNode(at, "n0", back_after=2.0) if kind == "lose" else faults.PauseWorker(at, "w0", seconds=12.0)


@pytest.mark.parametrize("command", [faults.DrainWorker, faults.AskToLeave])
def test_all_workers_leave_one_after_another_under_load_and_no_step_is_done_twice(
    command: type[faults.DrainWorker | faults.AskToLeave],
) -> None:
    nodes = {f"w{number}": f"n{number // 2}" for number in range(6)}
    restarts = tuple(command(20.0 + 9 * number, name, back_after=1.0) for number, name in enumerate(nodes))
    jobs = tuple(JobPlan(f"j{n}", at=0.5 * n, prompt=f"a red square, take {n}", steps=60) for n in range(30))
    world = World(Scenario(5, jobs, nodes, restarts)).run()
    states = world.checker.states.values()
    assert [state.status for state in states] == [JobStatus.COMPLETED] * len(jobs)
    assert "preempted" in {past.outcome for state in states for past in state.attempts}
    assert {past.outcome for state in states for past in state.attempts} <= {"done", "preempted"}
    assert sum(world.seconds[job, Stage.DENOISE] for job in world.plans) == len(jobs) * 60 * STEP_SECONDS


def test_neighbours_on_the_node_of_a_poison_job_complete() -> None:
    """It takes the whole node down each time; they are suspects once, and counted against never."""
    poison = JobPlan("poison", at=0.0, prompt="a blue disc", kills=(Stage.DENOISE, 3))
    innocent = tuple(JobPlan(f"innocent-{n}", at=0.1 * n, prompt=f"a red square, take {n}") for n in range(6))
    nodes = {f"w{number}": f"n{number // 4}" for number in range(8)}
    world = World(Scenario(3, (poison, *innocent), nodes, kills_take="node")).run()
    ends = [state.status for state in world.checker.states.values()]
    assert sorted(ends) == sorted([JobStatus.FAILED, *[JobStatus.COMPLETED] * len(innocent)])
    [state] = [state for state in world.checker.states.values() if state.status is JobStatus.FAILED]
    assert world.kills[state.job] == world.policy.suspicion_limit + 1
    [letter] = world.logs.letters
    assert letter.message.count("vanished with lease") == world.policy.suspicion_limit + 1


def test_innocent_neighbours_of_a_poison_job_complete() -> None:
    """They share a worker's slots with it, die with it once, and run alone from then on."""
    poison = JobPlan("poison", at=0.0, prompt="a blue disc", kills=(Stage.DENOISE, 3))
    innocent = tuple(JobPlan(f"innocent-{n}", at=0.1 * n, prompt=f"a red square, take {n}") for n in range(6))
    world = World(Scenario(3, (poison, *innocent), {"w0": "n0", "w1": "n1"}, slots=4)).run()
    ends = [state.status for state in world.checker.states.values()]
    assert sorted(ends) == sorted([JobStatus.FAILED, *[JobStatus.COMPLETED] * len(innocent)])


@pytest.mark.parametrize("kind", [ErrorKind.TRANSIENT, ErrorKind.RESOURCE, ErrorKind.BUG])
def test_a_stage_that_is_broken_for_minutes_costs_no_job_and_the_backlog_waits(kind: ErrorKind) -> None:
    """The coordinator dies meanwhile too: the next one knows from `jobs` that the stage fails."""
    broken = faults.BreakStage(10.0, Stage.DECODE, kind, seconds=180.0)
    killed = faults.KillCoordinator(40.0, "now", back_after=2.0)
    jobs = tuple(JobPlan(f"j{n}", at=0.3 * n, prompt=f"a red square, take {n}", steps=4) for n in range(60))
    nodes = {f"w{number}": f"n{number}" for number in range(8)}
    world = World(Scenario(2, jobs, nodes, (broken, killed))).run()
    states = world.checker.states.values()
    assert [state.status for state in states] == [JobStatus.COMPLETED] * len(jobs)
    assert world.logs.letters == []
    assert sum(world.failures.values()) < 60
    assert world.checker.openings >= 2


def test_one_cell_serves_ten_thousand_workers() -> None:
    """What it costs is printed by `python -m tests.sim.speed`; here it only has to come out right."""
    figures = measure_jobs(workers=10_000, jobs=200)
    assert figures["transitions_per_s"] > 0


def test_a_scenario_runs_the_same_way_in_every_process() -> None:
    """Sets of texts have another order in each process: nothing may depend on it."""
    told = {
        subprocess.run(
            [sys.executable, "-m", "tests.sim.simulator", "11", "--digest"], check=True, capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1
