"""What jobs hold: the outputs of every stage of a job that is under way, or that ended not long ago."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.job import JobState, JobStatus
from streams.upkeep.places import Kind, Place


@dataclass(frozen=True)
class Holds:
    """`outputs`: tenant, stage and stage key. `jobs`: those that may still be given their video."""

    outputs: frozenset[tuple[str, str, str]] = frozenset()
    jobs: frozenset[str] = frozenset()

    def __contains__(self, place: Place) -> bool:
        if place.kind is Kind.VIDEO:
            return place.owner in self.jobs
        return (place.tenant, place.stage, place.owner) in self.outputs


def holds_of(states: Iterable[JobState], ended_after: float) -> Holds:
    """A job that ended before a time, unix seconds, holds nothing, nor does a deleted one."""
    holders = [state for state in states if is_holder(state, ended_after)]
    outputs = {(state.tenant, str(stage), record.key) for state in holders for stage, record in state.stages.items()}
    return Holds(frozenset(outputs), frozenset(state.job for state in holders))


def is_holder(state: JobState, ended_after: float) -> bool:
    if state.status is JobStatus.DELETED:
        return False
    return not state.status.ended or (state.ended_at or 0.0) >= ended_after
