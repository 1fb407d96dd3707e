"""What is kept of tenants: keys and settings in the compacted topic `tenants`, webhook secrets in `endpoints`."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.tenants import ApiKey, TenantSettings
from schemas.retention import Retention
from schemas.webhooks import TenantSecret, tenant_key
from streams.kafka import clients
from streams.kafka.errors import NotDelivered
from streams.kafka.reader import Reader, event_of
from streams.kafka.topics import ENDPOINTS, TENANTS, Topic

SOURCE = "latentline/keys"
DELIVERED_WITHIN_S = 15.0


def read_keys(settings: Settings) -> list[ApiKey]:
    """Every key as it is now, oldest first. Raises `ClientError`."""
    kept = read(settings, TENANTS).values()
    return sorted((key for key in kept if isinstance(key, ApiKey)), key=lambda key: key.created_at)


def put_key(settings: Settings, key: ApiKey) -> None:
    """Write what is to be known of a key, and wait until the broker has it. Raises `NotDelivered`."""
    put(settings, TENANTS, key.id, key)


def rotate_webhook_secret(settings: Settings, tenant: str, now: float, keep_old: bool) -> TenantSecret:
    """Raises `ClientError`, and `ValidationError` for a tenant that cannot be named so."""
    first = TenantSecret(tenant=tenant)
    known = read(settings, ENDPOINTS).get(tenant_key(tenant))
    rotated = (known if isinstance(known, TenantSecret) else first).rotated(now, keep_old)
    put(settings, ENDPOINTS, tenant_key(tenant), rotated)
    return rotated


def set_retention(settings: Settings, tenant: str, retention: Retention | None, earlier: bool, now: float) -> None:
    """`earlier`: of videos from before there were classes, else of jobs to come. None: as the line has it.

    Raises `ClientError`, and `ValidationError` for a tenant that cannot be named so.
    """
    first, key = TenantSettings(tenant=tenant, set_at=now), tenant_key(tenant)
    known = read(settings, TENANTS).get(key)
    before = known if isinstance(known, TenantSettings) else first
    if earlier:
        changed = before.replace(retention_of_earlier=retention, set_at=now)
    else:
        changed = before.replace(retention=retention)
    put(settings, TENANTS, key, changed)


def read(settings: Settings, topic: Topic) -> dict[str, Frozen]:
    """The latest record of each key. Raises `ClientError`."""
    kept: dict[str, Frozen] = {}
    with Reader(settings) as reader:
        reader.assign(reader.from_start(topic))
        for message in reader.read_to_end():
            key, event = (message.key() or b"").decode(errors="replace"), event_of(message)
            if event is not None:
                kept[key] = event
            elif message.value() is None:
                kept.pop(key, None)
    return kept


def put(settings: Settings, topic: Topic, key: str, record: Frozen) -> None:
    """Write it, and wait until the broker has it. Raises `NotDelivered`."""
    errors: list[KafkaError] = []
    now = time.time()
    value, headers = envelope.write(record, id=f"{key}-{now:.6f}", source=SOURCE, time=now)
    producer = clients.producer(clients.PRODUCER, settings, message_timeout_ms=int(DELIVERED_WITHIN_S * 1000))
    try:
        producer.produce(
            topic.named(settings.topic_prefix), value, key, headers=[*headers],
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )  # fmt: skip
    except KafkaException as error:
        errors.append(error.args[0])
    if producer.flush(DELIVERED_WITHIN_S + 5) or errors:
        why = errors[0].str() if errors else "no answer"
        raise NotDelivered(f"Kafka at {settings.kafka_bootstrap} did not acknowledge {key}: {why}")
