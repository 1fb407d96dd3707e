"""Which jobs are suspected of killing their workers, and what clears them (protocol rule 19). Pure transitions.

A started lease that vanishes with its worker makes its job a suspect: from then on it runs alone on a node. Only what
is lost there counts to the limit, so neighbours of a poison job are never convicted with it.
"""

from __future__ import annotations

from schemas.errors import ErrorReport, WorkerLost
from schemas.events.reports import Heartbeat, HeldLease
from schemas.job import JobState, Lease
from schemas.stage import Stage
from streams.coordinator.core.transitions import change_stage


def counted(state: JobState, stage: Stage, alone: bool) -> JobState:
    """One more loss. `alone`: nothing else ran on its node."""
    record = state.stages[stage]
    return change_stage(
        state, stage, suspicions=record.suspicions + 1, lost_alone=record.lost_alone + (1 if alone else 0)
    )


def progressed(state: JobState, stage: Stage, bit_class: str, step: int | None) -> JobState:
    """A durable checkpoint was heard of. Beyond every earlier one of its bit class it clears suspicion: the job is
    long, not poisonous. One that is as far as an earlier one says nothing: it may die there each time."""
    record = state.stages[stage]
    if step is None or step <= record.checkpoints.get(bit_class, 0):
        return state
    if record.suspicions:
        state = cleared(state)
    checkpoints = record.checkpoints | {bit_class: step}
    return change_stage(state, stage, checkpoints=checkpoints, suspicions=0, lost_alone=0)


def cleared(state: JobState) -> JobState:
    """Earlier losses are no suspicions any more, and its lease gets neighbours from now on."""
    attempts = tuple(past.replace(suspicious=False) for past in state.attempts)
    return with_neighbours(state.replace(attempts=attempts))


def with_neighbours(state: JobState) -> JobState:
    if state.lease is None or not state.lease.alone:
        return state
    return state.replace(lease=state.lease.replace(alone=False))


def withdrawn(state: JobState, lease: int) -> JobState:
    """Who speaks again was not killed by the job: that loss was none."""
    past = next((past for past in state.attempts if past.lease == lease and past.suspicious), None)
    if past is None or state.status.ended:
        return state
    record = state.stages[past.stage]
    attempts = tuple(each.replace(suspicious=False) if each is past else each for each in state.attempts)
    return change_stage(
        state.replace(attempts=attempts), past.stage, suspicions=max(record.suspicions - 1, 0),
        lost_alone=max(record.lost_alone - past.alone, 0),
    )  # fmt: skip


def report_of_loss(
    lease: Lease, beat: Heartbeat | None, held: HeldLease | None, last_end: str | None = None
) -> ErrorReport:
    """What was known of the lease when its worker was last heard, and what its supervisor says of its end."""
    node = f" on node {beat.node}" if beat is not None else ""
    where = ", alone" if lease.alone else ""
    step = f", after step {held.step}" if held is not None and held.step is not None else ""
    kept = f", last checkpoint {held.checkpoint_step}" if held is not None and held.checkpoint_step is not None else ""
    message = f"{lease.incarnation}{node} vanished with lease {lease.number}{where}{step}{kept}"
    return WorkerLost(f"{message}: {last_end}" if last_end else message).report()


def evidence(state: JobState, stage: Stage) -> tuple[str, ...]:
    """What is known of its losses, for the person who reads the dead letter."""
    return tuple(
        past.error.message if past.error else f"lease {past.lease} on {past.worker}: {past.outcome}"
        for past in state.attempts
        if past.stage is stage
    )
