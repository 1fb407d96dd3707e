"""What the janitor tells: tombstones and records of `videos`, expiries to the coordinator, dead letters."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException, Message

from operations.gc.catalogue import Request
from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.catalogue import FILLED, CatalogueFilled, CatalogueRecord, VideoRecord
from schemas.envelope import Headers
from schemas.events.reports import ExpiryDue
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.errors import NotDelivered
from streams.kafka.topics import DLQ, REPORTS, VIDEOS, Topic

SOURCE = "latentline/janitor"
DELIVERED_WITHIN_S = 15.0


class Outbox:
    """Nothing is told for sure before `flush` has returned; telling it twice does no harm."""

    def __init__(self, settings: Settings, watch: ErrorWatch) -> None:
        self._prefix, self._errors = settings.topic_prefix, list[KafkaError]()
        patience = int(DELIVERED_WITHIN_S * 1000)
        self._producer = clients.producer(clients.PRODUCER, settings, watch, message_timeout_ms=patience)

    def record(self, record: VideoRecord, partition: int) -> None:
        """A record of `videos`."""
        self._event(VIDEOS, record.job, CatalogueRecord.of(record), partition)

    def filled(self) -> None:
        """Every video of before has its record."""
        self._event(VIDEOS, FILLED, CatalogueFilled(at=time.time()), 0)

    def gone(self, key: str, partition: int) -> None:
        """A tombstone of `videos`."""
        self._send(VIDEOS, key, None, [], partition)

    def expired(self, job: str, partition: int) -> None:
        self._event(REPORTS, job, ExpiryDue(job=job), partition)

    def refuse(self, origin: str, request: Request) -> None:
        """A delete of a video that its tenant does not have, as it came."""
        about = {
            "dlq_reason": "unknown_job", "dlq_message": f"no job {request.job} of tenant {request.tenant}",
            "dlq_origin": origin, "dlq_time": f"{time.time():.3f}",
        }  # fmt: skip
        headers = [*request.headers, *((name, text.encode()) for name, text in about.items())]
        self._send(DLQ, request.job, request.value, headers)

    def _event(self, topic: Topic, key: str, event: Frozen, partition: int) -> None:
        now = time.time()
        value, headers = envelope.write(event, id=f"{key}-{now:.6f}", source=SOURCE, time=now)
        self._send(topic, key, value, headers, partition)

    def _send(self, topic: Topic, key: str, value: bytes | None, headers: Headers, partition: int = -1) -> None:
        while True:
            try:
                self._producer.produce(
                    topic.named(self._prefix), value, key, partition, headers=[*headers], on_delivery=self._delivered
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._errors.append(error.args[0])
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._errors.append(error)

    def flush(self) -> None:
        """Raises `NotDelivered`."""
        left = self._producer.flush(DELIVERED_WITHIN_S + 5)
        errors, self._errors = self._errors, []
        if left or errors:
            raise NotDelivered(f"Kafka did not acknowledge: {errors[0].str() if errors else 'no answer'}")
