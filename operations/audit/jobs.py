"""The promises about job states: versions rise, an end is final, a lease is one dispatch, seconds add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from operations.audit.report import Compute, Violation
from schemas.job import JobState, JobStatus
from schemas.stage import Stage

ATTEMPTS_KEPT = 20
"""What the coordinator keeps of a job's history: a longer one is cut, and says nothing of what was before."""
TAKEN_BACK = ("lost", "voided")
"""Ends of a lease after which its worker may show that it lives and go on under the same number."""
LEAST_SECONDS = 1e-3


@dataclass
class JobsLog:
    """`jobs`, taken in record by record, oldest first; compaction may have removed any but the latest of a job."""

    latest: dict[str, JobState] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    """Jobs whose stub was let go."""
    violations: list[Violation] = field(default_factory=list)
    records: int = 0
    _holders: dict[int, tuple[str, Stage, str]] = field(default_factory=dict)

    def take(self, job: str, state: JobState | None) -> None:
        """The next record; None is a tombstone."""
        self.records += 1
        before = self.latest.pop(job, None)
        if state is None:
            self.forgotten.add(job)
            return
        self.latest[job] = state
        self.violations += [*follows(before, state), *self._leases(state)]

    def knows(self, job: str) -> bool:
        return job in self.latest or job in self.forgotten

    def ended(self) -> frozenset[str]:
        return frozenset(job for job, state in self.latest.items() if state.status.ended and state.is_submitted)

    def _leases(self, state: JobState) -> Iterator[Violation]:
        held = [(attempt.lease, attempt.stage, attempt.worker) for attempt in state.attempts]
        if state.lease is not None:
            held.append((state.lease.number, state.lease.stage, state.lease.worker))
        for number, stage, worker in held:
            holder = self._holders.setdefault(number, (state.job, stage, worker))
            if holder != (state.job, stage, worker):
                yield Violation("lease is one dispatch", state.job, f"lease {number} also names {' '.join(holder)}")


def follows(before: JobState | None, after: JobState) -> Iterator[Violation]:
    """Whether a state may come after another one of the same job."""
    if before is None:
        return
    if after.version <= before.version:
        yield Violation("versions rise", after.job, f"version {after.version} comes after version {before.version}")
    if before.status.ended and before.is_submitted and after.status is not JobStatus.DELETED:
        yield Violation("an end is final", after.job, f"it was {before.status} and is {after.status} afterwards")


def check_state(state: JobState) -> Iterator[Violation]:
    """What holds for each state by itself."""
    yield from check_status(state)
    yield from check_lease_order(state)
    yield from check_seconds(state)


def check_status(state: JobState) -> Iterator[Violation]:
    if state.status.ended:
        if state.lease is not None:
            yield Violation(
                "ended, waiting or running", state.job, f"it has ended and holds lease {state.lease.number}"
            )
        return
    running = state.status is JobStatus.RUNNING
    if not running and state.status is not JobStatus.WAITING:
        yield Violation("ended, waiting or running", state.job, f"its status is {state.status}")
    elif running != (state.lease is not None):
        yield Violation("ended, waiting or running", state.job, f"it is {state.status} with lease {state.lease}")
    elif state.stage is None or state.stage not in state.stages:
        yield Violation("ended, waiting or running", state.job, f"it is {state.status} for no stage of its own")


def check_lease_order(state: JobState) -> Iterator[Violation]:
    """Numbers rise, but for a lease that was given up too early and taken back."""
    leases = [(attempt.lease, attempt.outcome) for attempt in state.attempts]
    if state.lease is not None:
        leases.append((state.lease.number, "held"))
    ends: dict[int, str] = {}
    for number, outcome in leases:
        is_taken_back = ends.get(number) in TAKEN_BACK or is_cut(state)
        if number <= max(ends, default=0) and not is_taken_back:
            yield Violation("lease numbers rise", state.job, f"lease {number} comes after lease {max(ends)}")
        ends[number] = outcome


def is_cut(state: JobState) -> bool:
    return len(state.attempts) >= ATTEMPTS_KEPT


def check_seconds(state: JobState) -> Iterator[Violation]:
    """What a stage says it wasted is what its attempts wasted. A cut history tells part of it."""
    for stage, record in state.stages.items():
        told, said = sum(wasted_by_end(state, stage).values()), record.wasted_seconds
        if told > said + LEAST_SECONDS or (told < said - LEAST_SECONDS and not is_cut(state)):
            what = f"{stage} says {said:.3f} s were wasted, its attempts say {told:.3f} s"
            yield Violation("compute seconds add up", state.job, what)


def wasted_by_end(state: JobState, stage: Stage) -> dict[str, float]:
    """Seconds of the attempts that gave nothing, by how they ended."""
    wasted: dict[str, float] = {}
    for attempt in state.attempts:
        if attempt.stage is stage and attempt.outcome != "done":
            wasted[attempt.outcome] = wasted.get(attempt.outcome, 0.0) + attempt.seconds
    return wasted


def compute_of(states: Iterable[JobState]) -> Compute:
    """Useful and wasted compute of all jobs. What a cut history no longer tells is `earlier`."""
    useful, wasted = 0.0, dict[str, float]()
    for state in states:
        for stage, record in state.stages.items():
            useful += record.seconds
            told = wasted_by_end(state, stage)
            told["earlier"] = record.wasted_seconds - sum(told.values())
            for end, seconds in told.items():
                if seconds > LEAST_SECONDS:
                    wasted[end] = wasted.get(end, 0.0) + seconds
    return Compute(useful, wasted)
