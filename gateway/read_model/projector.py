"""Reads jobs, videos, progress, keys and webhooks into the gateway, from a thread of its own, as long as it lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from threading import Event, Thread

import structlog
from confluent_kafka import Message, TopicPartition

from gateway.api_keys import Keys
from gateway.read_model.batch import Batch
from gateway.read_model.job_record import AnyJob, read_job
from gateway.read_model.read_model import ReadModel
from gateway.read_model.webhook_cache import Hooks
from runtime.settings import Settings
from runtime.watchdog import Turns
from schemas.catalogue import CatalogueRecord, VideoRecord
from schemas.events.progress import StepProgress
from schemas.events.tenants import ApiKey, TenantSettings
from streams.kafka import clients
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import ENDPOINTS, JOBS, PROGRESS, TENANTS, VIDEOS, WEBHOOKS

TURN_S = 0.1
SET_UP = (TENANTS, ENDPOINTS, WEBHOOKS)
"""What is read anew by each life, and kept in memory."""
FORGETFUL_AFTER_S = 12 * 3600.0
"""A view that was not read for this long may have missed that a job was let go: tombstones are kept for a day."""

log = structlog.get_logger(__name__)


class Projector:
    """`tell` hears of jobs that have changed and of keys that were revoked, `see` of every new state.

    Both are called from the feed's thread.
    """

    def __init__(
        self, settings: Settings, model: ReadModel, keys: Keys, tell: Callable[[Collection[str]], None],
        see: Callable[[AnyJob], None] = lambda state: None, hooks: Hooks | None = None,
    ) -> None:  # fmt: skip
        """Raises `ClientError` when the broker does not answer."""
        self._settings, self._model, self._keys, self._tell, self._see = settings, model, keys, tell, see
        self._hooks = hooks or Hooks()
        self.is_caught_up = False
        self.read_until = 0.0
        """All of `jobs` that was written before this time, unix seconds, is in the read model."""
        self.turns = Turns("feed")
        self.on_failed: Callable[[], object] = lambda: None
        self._reader, self._jobs_topic = Reader(settings), JOBS.named(settings.topic_prefix)
        oldest = time.time() - FORGETFUL_AFTER_S
        self._next = model.open_source(f"{self._reader.cluster()}/{settings.topic_prefix}", oldest)
        self._read = [place for topic in (JOBS, VIDEOS, PROGRESS) for place in self._reader.from_start(topic)]
        self._all_keys = [place for topic in SET_UP for place in self._reader.from_start(topic)]
        self._stop = Event()
        self._thread = Thread(target=self._run, name="feed", daemon=True)

    def _left_off(self, places: Iterable[TopicPartition]) -> list[TopicPartition]:
        return [
            TopicPartition(place.topic, place.partition, self._next.get((place.topic, place.partition), place.offset))
            for place in places
        ]

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def reason(self) -> str | None:
        """Why the gateway is not ready."""
        if not self._thread.is_alive():
            return "it does not read the line any more"
        if (stalled := self.turns.reason(self._settings.stuck_after_s)) is not None:
            return stalled
        return None if self.is_caught_up else "reading what there is of jobs and keys"

    def _run(self) -> None:
        try:
            self._reader.assign([*self._left_off(self._read), *self._all_keys])
            while not self._stop.is_set():
                self.turns.turned()
                self._turn()
                self.is_caught_up = self.is_caught_up or self._reader.at_end
        except Exception:
            log.exception("the feed failed")
            self.on_failed()
        finally:
            self._reader.close()

    def _turn(self) -> None:
        messages = self._reader.read(TURN_S)
        if not messages:
            self.read_until = time.time()
        else:
            batch = self._batch(messages)
            self._model.take(batch, time.time())
            self._tell(batch.jobs | self._hooks.news() | self._keys.news())
            for state, _ in batch.states.values():
                self._see(state)
            self._next |= batch.offsets
            self.read_until = max(self.read_until, batch.written_at)
        self._model.erase(time.monotonic())

    def _batch(self, messages: Iterable[Message]) -> Batch:
        batch = Batch()
        for message in messages:
            self._take(batch, message)
        return batch

    def _take(self, batch: Batch, message: Message) -> None:
        topic, prefix = message.topic() or "", self._settings.topic_prefix
        if topic == self._jobs_topic:
            return self._take_job(batch, message)
        event = event_of(message)
        if self._hooks.take(topic.removeprefix(prefix), message, event):
            return
        if isinstance(event, ApiKey | TenantSettings):
            if isinstance(event, ApiKey):
                self._keys.take(event)
            return
        batch.offsets[topic, message.partition() or 0] = (message.offset() or 0) + 1
        if isinstance(event, StepProgress):
            batch.step(event)
        elif isinstance(event, CatalogueRecord | VideoRecord):
            batch.videos[(message.key() or b"").decode()] = event.record
        elif message.value() is None and topic == VIDEOS.named(prefix):
            batch.videos[(message.key() or b"").decode()] = None

    def _take_job(self, batch: Batch, message: Message) -> None:
        batch.offsets[self._jobs_topic, message.partition() or 0] = (message.offset() or 0) + 1
        batch.written_at = message.timestamp()[1] / 1000
        value = message.value()
        if value is None:
            batch.state((message.key() or b"").decode(), None)
            return
        job = read_job(value, clients.headers_of(message))
        if job is not None and job.is_submitted:
            batch.state(job.job, job, value)
