"""Everything a worker says: outcomes and heartbeats in order by one idempotent producer, progress by a lossy one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread

from confluent_kafka import KafkaError, KafkaException

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.progress import StepProgress
from schemas.events.reports import Heartbeat, Outcome, Started
from streams.kafka import clients
from streams.kafka.addressing import extensions_of
from streams.kafka.clients import ErrorWatch
from streams.kafka.topics import PROGRESS, REPORTS


@dataclass(frozen=True)
class Delivered:
    """The broker has the outcome of this lease; `started`: only its Started."""

    lease: int
    started: bool


@dataclass(frozen=True)
class Undeliverable:
    """An outcome could not be delivered, which an idempotent producer without time-out does only when it is broken."""

    why: str


class Reporter:
    """Callbacks come from a thread of its own and go into `events`."""

    def __init__(
        self, settings: Settings, watch: ErrorWatch, events: Callable[[Delivered | Undeliverable], None]
    ) -> None:
        self._events = events
        self._source = f"latentline/worker/{settings.worker_name}"
        self._reports, self._progress = REPORTS.named(settings.topic_prefix), PROGRESS.named(settings.topic_prefix)
        self._cell = settings.cell
        self._producer = clients.producer(clients.REPORTER, settings, watch)
        self._lossy = clients.producer(clients.PROGRESS, settings, watch)
        self._beat: Heartbeat | None = None
        self._beating = False
        self._lock = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._serve, name="reporter", daemon=True)
        self._thread.start()

    def outcome(self, outcome: Outcome, traceparent: str | None) -> None:
        """Never times out; waits for room when thousands wait for the broker."""

        def delivered(error: KafkaError | None, message: object) -> None:
            self._events(Undeliverable(str(error)) if error else Delivered(outcome.lease, isinstance(outcome, Started)))

        self._send(outcome, outcome.job, traceparent, delivered)

    def heartbeat(self, beat: Heartbeat) -> None:
        """At most one is undelivered; of those that wait behind it only the newest is kept (protocol rule 4)."""
        with self._lock:
            if self._beating:
                self._beat = beat
                return
            self._beating = True
        self._send(beat, None, None, self._beat_delivered)

    def _beat_delivered(self, error: KafkaError | None, message: object) -> None:
        with self._lock:
            beat, self._beat = self._beat, None
            self._beating = beat is not None
        if beat is not None:
            self._send(beat, None, None, self._beat_delivered)

    def progress(self, progress: StepProgress) -> None:
        """May be dropped (protocol rule 26)."""
        value, headers = self._write(progress, progress.job, None)
        with suppress(BufferError, KafkaException):
            self._lossy.produce(self._progress, value, progress.job, self._cell, headers=[*headers])

    def flush(self, seconds: float) -> bool:
        """Wait for what is under way; whether all of it was delivered."""
        return self._producer.flush(seconds) == 0

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.2)
            self._lossy.poll(0)

    def _send(
        self, event: Outcome | Heartbeat, subject: str | None, traceparent: str | None,
        delivered: Callable[[KafkaError | None, object], None],
    ) -> None:  # fmt: skip
        value, headers = self._write(event, subject, traceparent)
        while True:
            try:
                self._producer.produce(
                    self._reports, value, event.incarnation, self._cell, on_delivery=delivered, headers=[*headers]
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _write(self, event: Frozen, subject: str | None, traceparent: str | None) -> tuple[bytes, envelope.Headers]:
        return envelope.write(
            event, id=uuid.uuid4().hex, source=self._source, time=time.time(), subject=subject,
            traceparent=traceparent, extensions=extensions_of(event),
        )  # fmt: skip
