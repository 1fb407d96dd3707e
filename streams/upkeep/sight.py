"""The store, and what jobs hold of it, as of now."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.job import JobState
from stages.store import ArtifactStore
from streams.audit.log import Log
from streams.audit.objects import Shelves
from streams.audit.shelves import read_shelves
from streams.client.errors import ClientError
from streams.client.reader import event_of
from streams.settings import Settings
from streams.topics import JOBS
from streams.upkeep.holds import Holds, holds_of


class EmptyLog(ClientError):
    def __init__(self, topic: str, objects: int) -> None:
        super().__init__(
            f"{topic} names no job, yet the store holds {objects} objects: is this bucket another line's? "
            "Check LATENTLINE_STORE_BUCKET and LATENTLINE_TOPIC_PREFIX"
        )


class JobsNow:
    """What the jobs of a line hold, read on at every look. Raises `ClientError`."""

    def __init__(self, settings: Settings, log: Log, ended_after: float) -> None:
        self.topic = JOBS.named(settings.topic_prefix)
        self._log, self._ended_after = log, ended_after
        self._states: dict[bytes, JobState] = {}

    def look(self) -> Holds:
        for message in self._log.read(JOBS):
            state, key = event_of(message), message.key() or b""
            if isinstance(state, JobState):
                self._states[key] = state
            elif message.value() is None:
                self._states.pop(key, None)
            else:
                raise ClientError(f"{self.topic} holds what is no job state at offset {message.offset()}")
        return holds_of(self._states.values(), self._ended_after)

    @property
    def is_empty(self) -> bool:
        return not self._states


@dataclass(frozen=True)
class Sight:
    shelves: Shelves
    holds: Holds


def look(store: ArtifactStore, jobs: JobsNow, now: float) -> Sight:
    """The store first: whoever was accepted while it was listed holds what it finds there.

    Raises `EmptyLog`, `ClientError` and `StoreUnavailable`.
    """
    shelves = read_shelves(store, now, digests=False)
    holds = jobs.look()
    if jobs.is_empty and shelves.objects:
        raise EmptyLog(jobs.topic, len(shelves.objects))
    return Sight(shelves, holds)


def see(settings: Settings, store: ArtifactStore, ended_before: float, now: float) -> Sight:
    """One look. Jobs that ended before `ended_before` (unix seconds) hold nothing. Raises as `look` does."""
    with Log(settings) as log:
        return look(store, JobsNow(settings, log, ended_before), now)
