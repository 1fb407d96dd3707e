"""Follow jobs from what they are now to their end: a snapshot of `jobs`, then what changes.

`progress` and `completions` are read from a little before the snapshot, since a transaction becomes visible one
partition at a time: an end that was already on `completions` may not be on `jobs` yet.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Self

from confluent_kafka import Message

from runtime.settings import Settings
from schemas.events.completions import Completion
from schemas.events.progress import StepProgress
from schemas.job import JobState
from streams.client.snapshot import latest_states
from streams.client.updates import Changed, Ended, Stepped, Update, status_of
from streams.kafka.errors import NothingHappened, UnknownJobs
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import COMPLETIONS, JOBS, PROGRESS

LOOK_BACK_S = 60.0
TURN_S = 0.1


class Follower:
    """Open it before submitting, then no end can be missed. `jobs` is the snapshot at opening.

    Opening and following may raise `ClientError`.
    """

    def __init__(self, settings: Settings) -> None:
        self._reader, self._jobs_topic = Reader(settings), JOBS.named(settings.topic_prefix)
        self._early: list[Update] = []
        try:
            self._assign(time.time() - LOOK_BACK_S)
            self.jobs = latest_states(self._records_of_jobs())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

    def _assign(self, moment: float) -> None:
        reader = self._reader
        recent = [*reader.since(COMPLETIONS, moment), *reader.since(PROGRESS, moment)]
        reader.assign([*recent, *reader.from_start(JOBS)])

    def _records_of_jobs(self) -> Iterator[Message]:
        for message in self._reader.read_to_end():
            if message.topic() == self._jobs_topic:
                yield message
            elif update := update_of(message):
                self._early.append(update)

    def updates(
        self, wanted: Collection[str] | None = None, patience: float | None = None, known_within: float | None = None
    ) -> Iterator[Update]:
        """What happens to the `wanted` jobs until all of them have ended; without them, to the whole line for ever.

        First the state of each as it is now. Raises `NothingHappened` after `patience` seconds without an update,
        `UnknownJobs` when the line has not spoken of each within `known_within` seconds.
        """
        following = _Following(self.jobs, wanted)
        yield from following.begin(self._early)
        began = heard = time.monotonic()
        while not following.is_over:
            for message in self._reader.read(TURN_S):
                update = update_of(message)
                if update and following.is_news(update):
                    heard = time.monotonic()
                    yield update
            if patience is not None and time.monotonic() - heard > patience:
                raise NothingHappened(f"nothing has happened to {len(following.open)} job(s) for {patience:g} s")
            if following.unheard and known_within is not None and time.monotonic() - began > known_within:
                raise UnknownJobs(following.unheard, known_within)

    def states_of(self, jobs: Collection[str], seconds: float) -> dict[str, JobState]:
        """What the line says first of each of these jobs; of which it says nothing for `seconds` it is left out."""
        states = {job: self.jobs[job] for job in jobs if job in self.jobs}
        missing = set(jobs) - states.keys()
        try:
            for update in self.updates(missing, known_within=seconds) if missing else ():
                if isinstance(update, Changed):
                    states.setdefault(update.job, update.state)
                if states.keys() >= missing:
                    break
        except UnknownJobs:
            pass
        return states


class _Following:
    """Which jobs are followed, and which of them have not ended."""

    def __init__(self, jobs: dict[str, JobState], wanted: Collection[str] | None) -> None:
        self.jobs, self.wanted = jobs, wanted
        self.open, self.ended = set(wanted or ()), set[str]()
        self.unheard = set(wanted or ()) - jobs.keys()
        if wanted is None:
            self.ended = {job for job, state in jobs.items() if state.status.ended}

    @property
    def is_over(self) -> bool:
        return self.wanted is not None and not self.open

    def begin(self, early: list[Update]) -> Iterator[Update]:
        """The snapshot, then what was read beside it, then the ends of which only the snapshot knows."""
        states = (self.jobs[job] for job in self.jobs if self.wanted is None or job in self.wanted)
        yield from (Changed(state) for state in states if state.job not in self.ended)
        yield from (update for update in early if self.is_news(update))
        known = (self.jobs[job] for job in sorted(self.open) if job in self.jobs)
        old = [Ended(state.job, state.status) for state in known if state.status.ended]
        yield from (update for update in old if self.is_news(update))

    def is_news(self, update: Update) -> bool:
        """Whether somebody follows this job and its end has not been told yet."""
        if update.job in self.ended or (self.wanted is not None and update.job not in self.wanted):
            return False
        self.unheard.discard(update.job)
        if isinstance(update, Ended):
            self.ended.add(update.job)
            self.open.discard(update.job)
        return True


def update_of(message: Message) -> Update | None:
    """None for a tombstone (an ended job is forgotten), for a cancel without its prompt, and for what is no update."""
    event = event_of(message)
    if isinstance(event, JobState):
        return Changed(event) if event.is_submitted else None
    if isinstance(event, StepProgress):
        return Stepped(event)
    if isinstance(event, Completion):
        return Ended(event.job, status_of(event), event)
    return None
