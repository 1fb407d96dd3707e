"""The compacted `tenants` topic: which API keys there are."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException

from schemas import envelope
from schemas.events import ApiKey
from streams import clients
from streams.client.errors import NotDelivered
from streams.client.reader import Reader, event_of
from streams.settings import Settings
from streams.topics import TENANTS

SOURCE = "latentline/keys"
DELIVERED_WITHIN_S = 15.0


def read_keys(settings: Settings) -> list[ApiKey]:
    """Every key as it is now, oldest first. Raises `ClientError`."""
    keys: dict[str, ApiKey] = {}
    with Reader(settings) as reader:
        reader.assign(reader.from_start(TENANTS))
        for message in reader.read_to_end():
            event = event_of(message)
            if isinstance(event, ApiKey):
                keys[event.id] = event
    return sorted(keys.values(), key=lambda key: key.created_at)


def put_key(settings: Settings, key: ApiKey) -> None:
    """Write what is to be known of a key, and wait until the broker has it. Raises `NotDelivered`."""
    errors: list[KafkaError] = []
    now = time.time()
    value, headers = envelope.write(key, id=f"{key.id}-{now:.6f}", source=SOURCE, time=now)
    producer = clients.producer(clients.PRODUCER, settings, message_timeout_ms=int(DELIVERED_WITHIN_S * 1000))
    try:
        producer.produce(
            TENANTS.named(settings.topic_prefix), value, key.id, headers=[*headers],
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )  # fmt: skip
    except KafkaException as error:
        errors.append(error.args[0])
    if producer.flush(DELIVERED_WITHIN_S + 5) or errors:
        why = errors[0].str() if errors else "no answer"
        raise NotDelivered(f"Kafka at {settings.kafka_bootstrap} did not acknowledge the key {key.id}: {why}")
