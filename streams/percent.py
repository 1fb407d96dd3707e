"""How far a job is, in percent, by what the line has really done: never by time."""

from __future__ import annotations

from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage

SPANS = {Stage.ENCODE: (0, 3), Stage.DENOISE: (3, 90), Stage.DECODE: (90, 96), Stage.MUX: (96, 98)}
"""Where the percents of each stage begin and end. The last two come with the end of the job."""


def percent_of_step(stage: Stage, step: int, steps: int) -> int:
    low, high = SPANS[stage]
    done = min(max(step / steps, 0.0), 1.0) if steps > 0 else 0.0
    return int(low + (high - low) * done)


def percent_of_state(state: JobState) -> int:
    """What the state alone proves: the stages that are done. 100 belongs to a completed job."""
    if state.status is JobStatus.COMPLETED:
        return 100
    percent = 0
    for stage in STAGES:
        record = state.stages.get(stage)
        if record is None or record.artifact is None:
            break
        percent = SPANS[stage][1]
    return percent
