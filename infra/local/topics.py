"""Topics as the table says: `apply` creates and configures, `check` tells what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from infra.local.ports import wait_until
from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.topics import TOPICS, Topic

TIMEOUT = 15.0


@dataclass(frozen=True)
class Difference:
    topic: str
    what: str
    wanted: str
    found: str

    @property
    def can_be_applied(self) -> bool:
        return self.what != "partitions" or int(self.found) < int(self.wanted)

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, the table says {self.wanted}"


def admin(settings: Settings, watch: ErrorWatch | None = None) -> AdminClient:
    return AdminClient(clients.config({}, settings, watch), logger=clients.librdkafka_logger())


def apply(settings: Settings, topics: Sequence[Topic] = TOPICS) -> None:
    """Create what is missing and correct what differs; partitions are only ever added. Raises `KafkaException`.

    A broker acknowledges a change before it shows it to clients: this returns once it does.
    """
    client, prefix, cells = admin(settings), settings.topic_prefix, settings.cells
    found = client.list_topics(timeout=TIMEOUT).topics
    _create(client, [topic for topic in topics if topic.named(prefix) not in found], prefix, cells)
    present = [topic for topic in topics if topic.named(prefix) in found]
    few = [t for t in present if len(found[t.named(prefix)].partitions) < partitions(t, cells)]
    if few:
        more = [NewPartitions(topic.named(prefix), partitions(topic, cells)) for topic in few]
        _wait(client.create_partitions(more, operation_timeout=TIMEOUT))
    if present and check(settings, present):
        _wait(client.incremental_alter_configs([_resource(topic, prefix) for topic in present]))
    wait_until(lambda: not any(one.can_be_applied for one in check(settings, topics)), TIMEOUT)


def _create(client: AdminClient, topics: Sequence[Topic], prefix: str, cells: int) -> None:
    """With the broker's own replication factor. Another process may be doing the same."""
    new = [
        NewTopic(topic.named(prefix), partitions(topic, cells), replication_factor=-1, config=topic.config())
        for topic in topics
    ]
    if new:
        _wait(client.create_topics(new, operation_timeout=TIMEOUT), KafkaError.TOPIC_ALREADY_EXISTS)


def _wait(futures: Mapping[Any, Future[Any]], but: int | None = None) -> None:
    for future in futures.values():
        try:
            future.result(TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != but:
                raise


def _resource(topic: Topic, prefix: str) -> ConfigResource:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in topic.config().items()
    ]
    return ConfigResource(ResourceType.TOPIC, topic.named(prefix), incremental_configs=entries)


def partitions(topic: Topic, cells: int) -> int:
    return cells if topic.per_cell else topic.partitions


def check(settings: Settings, topics: Sequence[Topic] = TOPICS) -> list[Difference]:
    """Where the broker differs from the table. Raises `KafkaException` when it cannot be asked."""
    client, prefix, cells = admin(settings), settings.topic_prefix, settings.cells
    found = client.list_topics(timeout=TIMEOUT).topics
    differences = [
        Difference(topic.named(prefix), "topic", "present", "missing")
        for topic in topics
        if topic.named(prefix) not in found
    ]
    present = [topic for topic in topics if topic.named(prefix) in found]
    for topic in present:
        wanted, counted = partitions(topic, cells), len(found[topic.named(prefix)].partitions)
        if wanted != counted:
            differences.append(Difference(topic.named(prefix), "partitions", str(wanted), str(counted)))
    return differences + _config_differences(client, present, prefix)


def _config_differences(client: AdminClient, topics: Sequence[Topic], prefix: str) -> list[Difference]:
    if not topics:
        return []
    by_name = {topic.named(prefix): topic for topic in topics}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in by_name]
    differences = []
    for resource, future in client.describe_configs(resources).items():
        entries = future.result(TIMEOUT)
        for name, wanted in by_name[resource.name].config().items():
            entry = entries[name]
            if entry.value != wanted:
                source = "" if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value else " (not set on the topic)"
                differences.append(Difference(resource.name, name, wanted, f"{entry.value}{source}"))
    return differences
