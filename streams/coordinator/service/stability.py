"""Whether what the cell reads can be read: its last stable offsets against the ends of the log, from an own thread."""

from __future__ import annotations

import time
from threading import Event, Thread

import structlog
from confluent_kafka import KafkaException

from runtime import metrics
from runtime.settings import Settings
from streams.kafka.offsets import HELD_AFTER_S, Ends, Place, admin_client, ends_of
from streams.kafka.topics import JOBS, PROMPTS, REPORTS

LOOKED_AT = (PROMPTS, REPORTS, JOBS)
EVERY_S = 5.0

log = structlog.get_logger(__name__)


class Stability:
    """Looks from its making until `close`, also while the coordinator's own loop does not turn."""

    def __init__(self, settings: Settings, cell: int) -> None:
        self._places = {(topic.named(settings.topic_prefix), cell): topic.name for topic in LOOKED_AT}
        self._settings, self._admin = settings, admin_client(settings)
        self._held: dict[Place, tuple[int, float]] = {}
        """The stable offset at which a partition is held, and since when (monotonic seconds)."""
        self._stop = Event()
        self._thread = Thread(target=self._run, name="stability", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                found = ends_of(self._admin, self._places)
                if not self._stop.is_set():
                    self.take(found, time.monotonic())
            except KafkaException as error:
                self._admin = admin_client(self._settings)
                log.warning("the broker does not say where its topics end", error=str(error))

    def take(self, found: dict[Place, Ends], now: float) -> None:
        """`now`: monotonic seconds."""
        held: dict[Place, tuple[int, float]] = {}
        for place, ends in found.items():
            offset, since = self._held.get(place, (ends.stable, now))
            if ends.lag:
                held[place] = (ends.stable, since if offset == ends.stable else now)
            topic = self._places[place]
            metrics.STABLE_LAG.labels(topic).set(ends.lag)
            metrics.STABLE_HELD.labels(topic).set(now - held[place][1] if ends.lag else 0.0)
        self._held = held

    def words(self, now: float) -> list[str]:
        """Which topic cannot be read on, and for how long that has been so."""
        return [
            f"{self._places[place]} cannot be read beyond offset {offset} for {now - since:.0f} s: a producer holds a "
            "transaction open there"
            for place, (offset, since) in sorted(self._held.items())
            if now - since > HELD_AFTER_S
        ]

    def close(self) -> None:
        """Does not wait for an answer that is under way; the thread ends with it."""
        self._stop.set()
