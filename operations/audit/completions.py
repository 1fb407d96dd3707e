"""The promise about ends: each ended job has exactly one completion, which says what its state says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from operations.audit.jobs import JobsLog
from operations.audit.report import Violation
from schemas.events.completions import Completion, JobCancelled, JobCompleted, JobFailed
from schemas.job import JobState, JobStatus
from streams.kafka.topics import COMPLETIONS

PROMISE = "one completion a job"
TYPES: dict[JobStatus, type[Completion]] = {
    JobStatus.COMPLETED: JobCompleted,
    JobStatus.FAILED: JobFailed,
    JobStatus.CANCELLED: JobCancelled,
}


def check_completions(
    settled: Collection[str], jobs: JobsLog, completions: Mapping[str, Sequence[Completion]], now: float
) -> Iterator[Violation]:
    """`settled`: jobs that had ended before `completions` was read. `jobs` may have been read on after that."""
    for job in settled:
        state = jobs.latest.get(job)
        if state is not None and job not in completions and not is_past_retention(state, now):
            yield Violation(PROMISE, job, f"it is {state.status} and has no completion")
    for job, ends in completions.items():
        if len(ends) > 1:
            yield Violation(PROMISE, job, f"it has {len(ends)} completions")
        for end in ends:
            yield from check_completion(end, jobs)


def is_past_retention(state: JobState, now: float) -> bool:
    return (state.ended_at or now) < now - COMPLETIONS.retention_ms / 1000


def check_completion(end: Completion, jobs: JobsLog) -> Iterator[Violation]:
    state = jobs.latest.get(end.job)
    if state is None:
        if end.job not in jobs.forgotten:
            yield Violation(PROMISE, end.job, "it has a completion, and nobody knows the job")
    elif state.status is JobStatus.DELETED:
        return
    elif not isinstance(end, TYPES.get(state.status, ())):
        yield Violation(PROMISE, end.job, f"it is {state.status} and its completion is a {type(end).__name__}")
    else:
        yield from (Violation("completion and state agree", end.job, what) for what in differences(end, state))


def differences(end: Completion, state: JobState) -> Iterator[str]:
    pairs = {
        "tenant": (end.tenant, state.tenant),
        "recipe": (end.recipe, state.recipe),
        "asked recipe": (end.asked, state.asked),
        "time of the end": (end.ended_at, state.ended_at),
        "metadata": (end.metadata, state.metadata),
        "video": (getattr(end, "video", None), state.video),
        "error": (getattr(end, "error", None), state.error),
        "compute seconds": (
            {each.stage: (each.seconds, each.wasted_seconds) for each in end.stages},
            {stage: (record.seconds, record.wasted_seconds) for stage, record in state.stages.items()},
        ),
    }
    for name, (told, known) in pairs.items():
        if told != known:
            yield f"its completion has another {name}"
