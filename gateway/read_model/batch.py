"""What the feed has read in one turn, before it goes into the read model."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.read_model.job_record import AnyJob
from schemas.catalogue import VideoRecord
from schemas.events.progress import StepProgress
from schemas.job import JobStatus
from schemas.job_progress import percent_of_step

Position = tuple[str, int]
"""Topic and partition."""


@dataclass
class Batch:
    """The latest of each job."""

    states: dict[str, tuple[AnyJob, bytes]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    videos: dict[str, VideoRecord | None] = field(default_factory=dict)
    """None: deleted or expired."""
    steps: dict[str, StepProgress] = field(default_factory=dict)
    percents: dict[str, int] = field(default_factory=dict)
    offsets: dict[Position, int] = field(default_factory=dict)
    written_at: float = 0.0
    """When the last record of `jobs` in it was written, unix seconds."""

    @property
    def deletes(self) -> bool:
        """Whether anything goes with this batch that may be nowhere afterwards."""
        return bool(self.forgotten) or any(s.status is JobStatus.DELETED for s, _ in self.states.values())

    @property
    def jobs(self) -> set[str]:
        """Of which there is something new."""
        return self.forgotten.union(self.states, self.steps, self.videos)

    def state(self, job: str, state: AnyJob | None, data: bytes = b"") -> None:
        """The next record of `jobs`; None is a tombstone."""
        self.states.pop(job, None)
        self.forgotten.discard(job)
        if state is None:
            self.forgotten.add(job)
        else:
            self.states[job] = state, data

    def step(self, step: StepProgress) -> None:
        """The next record of `progress`. Of a job that began again the farthest step counts and the latest shows."""
        percent, before = percent_of_step(step.stage, step.step, step.steps), self.steps.get(step.job)
        if step.preview_step is None and before is not None:
            step = step.replace(preview_step=before.preview_step)
        self.steps[step.job] = step
        self.percents[step.job] = max(percent, self.percents.get(step.job, 0))
