"""Take dead letters off the list: a record of `dlq` that names them. Nothing is deleted."""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import KafkaException

from operations.dead_letters.records import DROPPED
from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.errors import ClientError, NotDelivered
from streams.kafka.topics import DLQ

DELIVERED_WITHIN_S = 15.0


def drop(settings: Settings, places: Sequence[str], why: str) -> None:
    """Write it and wait until it is acknowledged. Raises `ClientError`."""
    about = {"dlq_reason": DROPPED, "dlq_message": why[:4000], "dlq_time": f"{time.time():.3f}"}
    producer = clients.producer(clients.PRODUCER, settings, message_timeout_ms=int(DELIVERED_WITHIN_S * 1000))
    errors: list[str] = []
    try:
        producer.produce(
            DLQ.named(settings.topic_prefix), " ".join(places).encode(),
            headers=[(name, text.encode()) for name, text in about.items()],
            on_delivery=lambda error, _: errors.append(error.str()) if error else None,
        )  # fmt: skip
    except KafkaException as error:
        raise ClientError(f"the letters cannot be dropped: {error.args[0].str()}") from None
    if producer.flush(DELIVERED_WITHIN_S + 5) or errors:
        raise NotDelivered(f"the letters may not be dropped, drop them again: {errors[0] if errors else 'no answer'}")
