"""How each job may end, given what was done to it and to the machines; and how much work may be done in vain."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from schemas.errors import RETRIES
from schemas.job import JobState, JobStatus
from tests.sim import scenario as faults
from tests.sim.scenario import JobPlan, Scenario

if TYPE_CHECKING:
    from tests.sim.simulator import World


def check_ends(world: World) -> None:
    """Of the jobs that are still known; of the others it was checked when they were forgotten."""
    for state in world.checker.states.values():
        check_one_end(world, state)


def check_one_end(world: World, state: JobState) -> None:
    job, plan = state.job, world.plans[state.job]
    if state.status is JobStatus.CANCELLED:
        assert plan.name in world.cancelled, f"{job} was cancelled by nobody"
    elif state.status is JobStatus.FAILED:
        assert state.error is not None
        assert is_explained(world, state, plan), f"{job} failed without reason: {state.error}, {state.attempts}"
    else:
        assert not must_fail(world, plan), f"{job} completed though it could not"


def must_fail(world: World, plan: JobPlan) -> bool:
    return plan.kills is not None or plan.rots is not None or exhausts(world, plan)


def exhausts(world: World, plan: JobPlan) -> bool:
    """Whether it fails as often as its kind of error allows. A failure under a void lease is not counted."""
    if plan.fails is None or not world.is_undisturbed or world.checker.openings:
        return False
    _, kind, times = plan.fails
    retry = RETRIES[kind]
    return retry.costs_attempt and times >= min(retry.attempts, world.policy.max_attempts)


def is_undisturbed(scenario: Scenario) -> bool:
    """Whether every lease ends in an outcome that is read."""
    disturbing = any(isinstance(fault, faults.WorkerFault | faults.PoisonOutcome) for fault in scenario.faults)
    return not disturbing and not any(plan.kills for plan in scenario.jobs)


def is_explained(world: World, state: JobState, plan: JobPlan) -> bool:
    """The error is one that something done to the job, or to its neighbours, can have led to."""
    assert state.error is not None
    code = state.error.code
    if code == "poison_job":
        return plan.kills is not None or deaths_under(world, state) >= world.policy.suspicion_limit
    if code == "input_lost":
        return plan.rots is not None or world.store.lost >= 1
    if code == "unreadable_outcome":
        return any(isinstance(fault, faults.PoisonOutcome) for fault in world.scenario.faults)
    return plan.fails is not None and code == f"sim_{plan.fails[1]}"


def deaths_under(world: World, state: JobState) -> int:
    """Leases of its last stage that were lost with a worker that did die, or was out of reach."""
    lost = [past for past in state.attempts if past.stage is state.stage and past.outcome == "lost"]
    return sum(past.worker in world.harmed for past in lost)


# -- work done in vain ---------------------------------------------------------------------------------------------


def check_waste(world: World) -> None:
    """No fault of the coordinator costs any work; one of a worker costs what the worker held."""
    spare = world.checker.spare
    allowed = sum(price(world, fault) for fault in world.scenario.faults) + harm_planned(world)
    assert spare <= allowed, f"{spare} leases led to nothing, {allowed} can be explained"


def price(world: World, fault: faults.Fault) -> int:
    """Leases that the fault can have made vain: what its worker held, each maybe dispatched twice."""
    slots = world.scenario.slots
    if isinstance(fault, faults.LoseNode):
        return 2 * slots * sum(node == fault.node for node in world.scenario.nodes.values())
    if isinstance(fault, faults.WorkerFault):
        return 2 * slots
    if isinstance(fault, faults.LoseArtifact):
        return 6
    return 1 if isinstance(fault, faults.CancelJob | faults.PoisonOutcome) else 0


def harm_planned(world: World) -> int:
    nodes = Counter(world.scenario.nodes.values())
    killed = max(nodes.values()) if world.scenario.kills_take == "node" else 1
    kills = sum(world.kills.values()) * killed * world.scenario.slots * 2
    failures = sum(world.failures.values())
    rots = 12 * sum(plan.rots is not None for plan in world.scenario.jobs)
    return kills + failures + rots


def check_kills(world: World) -> None:
    """A poison job is stopped at the limit: it kills no more than that, once in company, and what other faults hid."""
    hidden = len(world.scenario.faults)
    for job, kills in world.kills.items():
        assert kills <= world.policy.suspicion_limit + 1 + hidden, f"{job} killed {kills} workers"
