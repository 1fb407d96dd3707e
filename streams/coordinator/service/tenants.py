"""What operators have set for tenants, read beside everything else from the compacted topic `tenants`."""

from __future__ import annotations

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime.settings import Settings
from schemas.events.tenants import TenantSettings
from schemas.retention import Retention
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.reader import event_of
from streams.kafka.topics import TENANTS

BATCH = 500
REPLAY_DEADLINE_S = 30.0


class Tenants:
    """`retentions`: the class of jobs that name none, by tenant. A decision that was made by it stays in the job."""

    def __init__(self, settings: Settings, watch: ErrorWatch) -> None:
        """Reads what there is. Raises `TimeoutError` when the broker does not give it."""
        self.retentions: dict[str, Retention] = {}
        self._reader: Consumer = clients.consumer(clients.READER, settings, watch)
        name = TENANTS.named(settings.topic_prefix)
        self._reader.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in range(TENANTS.partitions)])
        self._behind = TENANTS.partitions
        deadline = time.monotonic() + REPLAY_DEADLINE_S
        while self._behind > 0:
            self.follow(0.2)
            if time.monotonic() > deadline:
                raise TimeoutError(f"`tenants` was not read to its end within {REPLAY_DEADLINE_S:.0f} s")

    def follow(self, seconds: float = 0.0) -> bool:
        """Take in what is there, waiting up to `seconds` for the first of it; whether a class was set.

        Raises `KafkaException` for an error that librdkafka does not mend by itself.
        """
        messages = self._reader.consume(BATCH, seconds)
        return sum(self._take(message) for message in messages) > 0

    def _take(self, message: Message) -> bool:
        if (error := message.error()) is not None:
            self._behind -= error.code() == KafkaError._PARTITION_EOF
            if not clients.is_mended(error):
                raise KafkaException(error)
            return False
        event = event_of(message)
        if not isinstance(event, TenantSettings):
            return False
        if event.retention is None:
            self.retentions.pop(event.tenant, None)
        else:
            self.retentions[event.tenant] = event.retention
        return True

    def close(self) -> None:
        self._reader.close()
