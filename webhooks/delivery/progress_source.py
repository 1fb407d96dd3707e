"""How far the jobs that run have got: read from `jobs` and `progress` while somebody wants to hear `video.progress`.

Best effort, as `progress` itself is: nothing is committed, and each life begins with what is new.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from confluent_kafka import Message

from runtime.settings import Settings
from schemas.events.progress import StepProgress
from schemas.job import JobState, JobStatus
from schemas.job_progress import percent_of_step
from schemas.video import Live
from schemas.webhooks import PROGRESS as PROGRESS_TYPE
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import JOBS, PROGRESS
from webhooks.delivery.payload import JobEvent

BEGUN_WITHIN_S = 3600.0
"""A job whose state has not changed for longer is told of after its next change."""
MOST_ENDED = 10_000
TEN = 10


@dataclass
class Running:
    """The jobs that run, and which ten of percent was told of each. Knows no Kafka."""

    states: dict[str, JobState] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """The latest ends: `completions` may tell of one before `jobs` does."""

    def take(self, state: JobState) -> None:
        if state.status.ended:
            self.end(state.job)
        elif state.status is not JobStatus.RUNNING or state.job in self._ended:
            self.states.pop(state.job, None)
        else:
            self.states[state.job] = state

    def end(self, job: str) -> None:
        """Nothing more is told of it."""
        self.states.pop(job, None)
        self.told.pop(job, None)
        self._ended[job] = None
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    def reached(self, step: StepProgress, at: float) -> JobEvent | None:
        """None unless the step is of the lease that runs and takes the job past another ten of percent."""
        state = self.states.get(step.job)
        if state is None or state.lease is None or state.lease.number != step.lease:
            return None
        percent = percent_of_step(step.stage, step.step, step.steps)
        ten = percent // TEN * TEN
        if ten <= self.told.get(step.job, 0):
            return None
        self.told[step.job] = ten
        live = Live(percent, step.step, step.steps, preview_step=step.preview_step)
        return JobEvent(step.job, state.tenant, PROGRESS_TYPE, at, percent=ten, subject=state, live=live)


class ProgressSource:
    """Every call may raise `ClientError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader: Reader | None = None
        self._running = Running()

    def read(self, wanted: bool) -> list[JobEvent]:
        """What is new, at once. While it is not wanted nothing is read, and what was known is let go."""
        if not wanted:
            self.close()
            return []
        reader = self._reader = self._reader or self._opened()
        messages = reader.read(0.0)
        return [reached for message in messages if (reached := self._take(message, reader.at_end))]

    def _opened(self) -> Reader:
        reader, now = Reader(self._settings), time.time()
        reader.assign([*reader.since(JOBS, now - BEGUN_WITHIN_S), *reader.since(PROGRESS, now)])
        return reader

    def _take(self, message: Message, caught_up: bool) -> JobEvent | None:
        """Until it has read all there was, it may take a job for one that runs which has ended long ago."""
        event = event_of(message)
        if isinstance(event, JobState):
            self._running.take(event)
        elif isinstance(event, StepProgress) and caught_up:
            _, milliseconds = message.timestamp()
            return self._running.reached(event, milliseconds / 1000)
        return None

    def end(self, job: str) -> None:
        """The end of the job is about to be told: nothing comes after it."""
        self._running.end(job)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._running = None, Running()
