"""What can be told about a job that is followed."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.events.completions import Completion, JobCancelled, JobCompleted
from schemas.events.progress import StepProgress
from schemas.job import JobState, JobStatus


@dataclass(frozen=True)
class Changed:
    """The truth about a job is now this."""

    state: JobState

    @property
    def job(self) -> str:
        return self.state.job


@dataclass(frozen=True)
class Stepped:
    """A running stage has done one more step; best effort."""

    progress: StepProgress

    @property
    def job(self) -> str:
        return self.progress.job


@dataclass(frozen=True)
class Ended:
    """The end of a job, told once. `completion` is None for a job that had ended before it was followed."""

    job: str
    status: JobStatus
    completion: Completion | None = None


Update = Changed | Stepped | Ended


def status_of(completion: Completion) -> JobStatus:
    if isinstance(completion, JobCompleted):
        return JobStatus.COMPLETED
    return JobStatus.CANCELLED if isinstance(completion, JobCancelled) else JobStatus.FAILED
