"""What jobs and the catalogue refer to: kept small, a job at a time, as the log tells of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from operations.audit.object_places import Kind, Place
from operations.gc.catalogue import Catalogue
from schemas.job import JobState, JobStatus
from schemas.stage import Stage


class Referrer(NamedTuple):
    """A job that was submitted. `outputs`: tenant, stage and stage key of each of its stages, as one text."""

    tenant: str
    outputs: tuple[str, ...]
    holds: bool
    deleted_at: float | None = None


@dataclass
class References:
    """A job refers to the outputs of all its stages while it is under way and, after its end, as long as it is known.

    One that ended before `ended_after`, unix seconds, refers to nothing, nor does a deleted one.
    """

    ended_after: float = 0.0
    catalogue: Catalogue = field(default_factory=Catalogue)
    jobs: dict[str, Referrer] = field(default_factory=dict)
    _held: Counter[str] = field(default_factory=Counter)
    _deleted: Counter[str] = field(default_factory=Counter)
    """Outputs of deleted jobs."""

    def take(self, job: str, state: JobState | None) -> None:
        """The next record of `jobs`; None is a tombstone."""
        if (before := self.jobs.pop(job, None)) is not None:
            self._count(before, -1)
        if state is not None and state.is_submitted:
            after = self.jobs[job] = referrer_of(state, self.ended_after)
            self._count(after, 1)

    def _count(self, job: Referrer, change: int) -> None:
        counter = self._held if job.holds else self._deleted
        for output in job.outputs if job.holds or job.deleted_at is not None else ():
            counter[output] += change
            if counter[output] == 0:
                del counter[output]

    def __contains__(self, place: Place) -> bool:
        """Whether it must stay. A video does as long as the catalogue has it, whatever is known of its job."""
        if place.kind is not Kind.VIDEO:
            return output_of(place.tenant, place.stage, place.owner) in self._held
        job = self.jobs.get(place.owner)
        return (job is not None and job.holds) or self.catalogue.has(place.owner, place.tenant)

    def is_deleted(self, place: Place) -> bool:
        """Whether a deleted job has left it there: it goes however young it is."""
        if place.kind is not Kind.VIDEO:
            return output_of(place.tenant, place.stage, place.owner) in self._deleted
        job = self.jobs.get(place.owner)
        return job is not None and job.deleted_at is not None

    @property
    def is_empty(self) -> bool:
        return not self.jobs and not self.catalogue.videos


def references_of(states: Iterable[JobState], ended_after: float = 0.0) -> References:
    found = References(ended_after)
    for state in states:
        found.take(state.job, state)
    return found


def referrer_of(state: JobState, ended_after: float) -> Referrer:
    outputs = tuple(
        output_of(state.tenant, stage, record.key) for stage, record in state.stages.items() if stage is not Stage.MUX
    )
    if state.status is JobStatus.DELETED:
        return Referrer(state.tenant, outputs, False, state.deleted_at or state.updated_at)
    return Referrer(state.tenant, outputs, not state.status.ended or (state.ended_at or 0.0) >= ended_after)


def output_of(tenant: str, stage: str, key: str) -> str:
    return f"{tenant}/{stage}/{key}"
