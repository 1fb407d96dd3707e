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
    """What the state alone says; it never falls from one version to the next. 100 belongs to a completed job.

    While a job lives this is where the stages begin that were ever dispatched, and where those end that are done. Once
    it has ended otherwise, it is where the last stage ends that was ever dispatched: no step can have told of more.
    """
    if state.status is JobStatus.COMPLETED:
        return 100
    records = {stage: state.stages[stage] for stage in STAGES if stage in state.stages}
    begun = [stage for stage, record in records.items() if record.dispatches or record.artifact]
    if state.status.ended:
        return max((SPANS[stage][1] for stage in begun), default=0)
    return max((SPANS[stage][records[stage].artifact is not None] for stage in begun), default=0)
