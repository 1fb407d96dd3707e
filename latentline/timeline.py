"""What happened to one job, as moments in order. Knows nothing of terminals."""

from __future__ import annotations

from dataclasses import dataclass

from latentline.job_table import error_note
from schemas.job import Attempt, JobState, Lease
from schemas.printable import printable


@dataclass(frozen=True)
class Moment:
    """`after` seconds from the prompt on; `seconds` of compute."""

    after: float
    what: str
    worker: str = ""
    outcome: str = ""
    took: float | None = None
    seconds: float | None = None
    note: str = ""


def timeline(state: JobState) -> list[Moment]:
    """Acceptance, each ended attempt, the lease that runs or the wait, the end."""
    moments = [Moment(0.0, "accepted")]
    moments += [of_attempt(state, attempt) for attempt in state.attempts]
    if state.lease is not None:
        moments.append(of_lease(state, state.lease))
    elif not state.status.ended:
        moments.append(of_waiting(state))
    if state.ended_at is not None:
        moments.append(of_end(state, state.ended_at))
    return moments


def of_attempt(state: JobState, attempt: Attempt) -> Moment:
    note = error_note(attempt.error) if attempt.error else ""
    if attempt.outcome == "done":
        record = state.stages[attempt.stage]
        note = "the output was there already" if record.reused else note
        note = f"went on from step {record.resumed_from_step}" if record.resumed_from_step else note
        if record.unusable_checkpoint_step:
            note = f"started over: its checkpoint of step {record.unusable_checkpoint_step} is of another bit class"
    return Moment(
        attempt.dispatched_at - state.accepted_at, str(attempt.stage), attempt.worker, attempt.outcome,
        attempt.ended_at - attempt.dispatched_at, attempt.seconds, note,
    )  # fmt: skip


def of_lease(state: JobState, lease: Lease) -> Moment:
    outcome = "runs" if lease.started_at is not None else "dispatched"
    return Moment(lease.dispatched_at - state.accepted_at, str(lease.stage), lease.worker, outcome)


def of_waiting(state: JobState) -> Moment:
    record = state.stages.get(state.stage) if state.stage else None
    since = record.waiting_since if record and record.waiting_since else state.updated_at
    not_before = record.not_before if record else 0.0
    note = f"not before +{not_before - state.accepted_at:.1f} s" if not_before > state.updated_at else ""
    return Moment(since - state.accepted_at, str(state.stage or ""), outcome="waits", note=note)


def of_end(state: JobState, ended_at: float) -> Moment:
    note = error_note(state.error) if state.error else printable(state.cancel_reason or "")
    return Moment(ended_at - state.accepted_at, str(state.status), note=note)
