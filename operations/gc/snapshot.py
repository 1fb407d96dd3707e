"""The store, and what jobs and catalogue refer to in it, as of now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from operations.audit.log import Log
from operations.audit.objects import StoreListing
from operations.audit.store_listing import read_shelves
from operations.gc.references import References
from runtime.settings import Settings
from schemas.job import JobState
from stages.storage.artifacts import ArtifactStore
from streams.kafka import clients
from streams.kafka.errors import ClientError
from streams.kafka.reader import event_of
from streams.kafka.topics import JOBS, VIDEOS


class EmptyLog(ClientError):
    def __init__(self, topic: str, objects: int) -> None:
        super().__init__(
            f"{topic} names no job, yet the store holds {objects} objects: is this bucket another line's? "
            "Check LATENTLINE_STORE_BUCKET and LATENTLINE_TOPIC_PREFIX"
        )


class LogView:
    """What the jobs and videos of a line refer to, read on at every look. Raises `ClientError`.

    `see` hears of every state of a job, with its partition, after it was taken in.
    """

    def __init__(
        self, settings: Settings, log: Log, ended_after: float = 0.0,
        see: Callable[[JobState, int], None] = lambda state, partition: None,
    ) -> None:  # fmt: skip
        self.topic = JOBS.named(settings.topic_prefix)
        self.references = References(ended_after)
        self._log, self._see = log, see

    def look(self) -> References:
        """The same value each time, up to date."""
        for message in self._log.read(VIDEOS):
            key, event = (message.key() or b"").decode(errors="replace"), event_of(message)
            if event is None and message.value() is not None:
                raise ClientError(f"{VIDEOS.name} holds what is no record of a video at offset {message.offset()}")
            self.references.catalogue.take(
                key, event, message.partition() or 0, message.value() or b"", clients.headers_of(message)
            )
        for message in self._log.read(JOBS):
            state, job = event_of(message), (message.key() or b"").decode(errors="replace")
            if message.value() is not None and not isinstance(state, JobState):
                raise ClientError(f"{self.topic} holds what is no job state at offset {message.offset()}")
            known = state if isinstance(state, JobState) else None
            self.references.take(job, known)
            if known is not None:
                self._see(known, message.partition() or 0)
        return self.references

    def check_owner(self, objects: int) -> None:
        """Raises `EmptyLog` where the log knows of nothing and the store has something."""
        if self.references.is_empty and objects:
            raise EmptyLog(self.topic, objects)


@dataclass(frozen=True)
class Sight:
    listing: StoreListing
    references: References


def see(settings: Settings, store: ArtifactStore, ended_before: float, now: float) -> Sight:
    """One look at all of it. Jobs that ended before `ended_before` (unix seconds) refer to nothing.

    The store first: whoever was accepted while it was listed refers to what it finds there. Raises `EmptyLog`,
    `ClientError` and `StoreUnavailable`.
    """
    with Log(settings) as log:
        view = LogView(settings, log, ended_before)
        listing = read_shelves(store, now, digests=False)
        references = view.look()
        view.check_owner(len(listing.objects))
        return Sight(listing, references)
