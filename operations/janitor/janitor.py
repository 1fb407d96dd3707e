"""The janitor's loop: what the log tells of, then what is due, a step at a time, so that a delete never waits long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from types import FrameType

import structlog

from operations.audit.log import Log
from operations.gc import collector
from operations.gc.snapshot import EmptyLog, LogView
from operations.janitor import expiry
from operations.janitor.backfill import Backfill, fill_from_store
from operations.janitor.erasure import erase
from operations.janitor.outbox import Outbox
from operations.janitor.searches import Searches
from runtime import metrics
from runtime.settings import Settings
from runtime.watchdog import Turns
from schemas.errors import StoreUnavailable
from schemas.events.tenants import TenantSettings
from schemas.job import JobState
from schemas.retention import Retention
from stages.storage.artifacts import ArtifactStore
from streams.kafka.clients import ErrorWatch
from streams.kafka.errors import ClientError
from streams.kafka.reader import event_of
from streams.kafka.topics import TENANTS

TURN_S = 0.5
STEPS_S = 2.0
"""For how long a turn goes on with what is in no hurry."""
SEARCHES_A_TURN, EXPIRIES_A_TURN = 50, 20
"""The coordinator reads the state of each job that expires from the log."""
DONE = object()

logger = structlog.get_logger(__name__)


class Janitor:
    """Everything it does may be done twice: several may run, and one that begins anew goes on from the log."""

    def __init__(self, settings: Settings, store: ArtifactStore) -> None:
        self._settings, self._store = settings, store
        self._watch = ErrorWatch()
        self._outbox = Outbox(settings, self._watch)
        self._log = Log(settings)
        self._view = LogView(settings, self._log, see=self._see)
        self._catalogue = self._view.references.catalogue
        self._catalogue.seconds = {
            Retention.EPHEMERAL: settings.retention_ephemeral_s, Retention.STANDARD: settings.retention_standard_s
        }  # fmt: skip
        self._searches = Searches(settings.erase_again_after_s)
        self._backfill = Backfill(self._catalogue, self._outbox)
        self._steps: Iterator[object] | None = None
        self._gc_at = 0.0
        self._stop = Event()
        self.turns = Turns("janitor")
        self._trouble = "reading what there is of jobs and videos"

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stop.set()

    def close(self) -> None:
        self._log.__exit__(None, None, None)

    def reason(self) -> str | None:
        """Why it is not ready."""
        return self.turns.reason(self._settings.stuck_after_s) or self._trouble or None

    def warnings(self) -> list[str]:
        return []

    def run(self) -> None:
        """Until `stop`. Broker and store may be away: it goes on where it was."""
        while not self._stop.is_set():
            self._watch.check()
            try:
                self.turn(time.time())
                self._trouble = ""
            except (ClientError, StoreUnavailable) as error:
                self._trouble, self._steps = f"{len(self._searches)} searches wait: {error}", None
                logger.warning("what is deleted cannot be removed yet", why=str(error))
            self.turns.turned()
            self._stop.wait(TURN_S)

    def turn(self, now: float) -> None:
        """Raises `ClientError` and `StoreUnavailable`."""
        self._read()
        expiry.answer(self._view.references, self._outbox, self._searches, now)
        expiry.expire(self._view.references, self._outbox, self._searches, now, EXPIRIES_A_TURN)
        self._erase(now)
        self._go_on(now)
        self._measure(now)

    def _see(self, state: JobState, partition: int) -> None:
        self._searches.see(state, time.time())
        self._backfill.see(state, partition)
        if self._catalogue.has(state.job, state.tenant) and state.deleted_at is not None:
            # A record that was given to it while it was being deleted.
            self._outbox.gone(state.job, partition)

    def _read(self) -> None:
        for message in self._log.read(TENANTS):
            if isinstance(event := event_of(message), TenantSettings):
                self._catalogue.set(event)
        self._view.look()
        self._backfill.flush()

    def _erase(self, now: float) -> None:
        searches = self._searches.take(now, SEARCHES_A_TURN)
        if not searches:
            return
        try:
            metrics.JANITOR_REMOVED.labels("deleted").inc(erase(self._store, self._view, searches))
        except (ClientError, StoreUnavailable):
            self._searches.put(searches)
            raise

    def _go_on(self, now: float) -> None:
        """With filling the catalogue, then with gc when its time has come."""
        if self._steps is None:
            self._steps = self._next_steps(now)
        deadline = time.monotonic() + STEPS_S
        while self._steps is not None and time.monotonic() < deadline and not self._stop.is_set():
            self.turns.turned()
            if next(self._steps, DONE) is DONE:
                self._steps = None

    def _next_steps(self, now: float) -> Iterator[object] | None:
        if not self._catalogue.is_filled:
            return fill_from_store(self._store, self._view, self._outbox)
        interval = self._settings.gc_interval_s
        if not interval or now < self._gc_at:
            return None
        self._gc_at = now + interval
        return self._collect(now - self._settings.gc_grace_s)

    def _collect(self, oldest: float) -> Iterator[object]:
        try:
            for each in collector.run(self._store, self._view, oldest):
                if each is not None:
                    metrics.JANITOR_REMOVED.labels("orphan").inc(len(each.stored))
                yield each
        except EmptyLog as error:
            logger.warning("gc touches nothing", why=str(error))

    def _measure(self, now: float) -> None:
        metrics.CATALOGUED_VIDEOS.set(len(self._catalogue.videos))
        metrics.JANITOR_OLDEST.set(self._searches.waiting_s(now))
