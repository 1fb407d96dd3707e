"""Topics as the table says: `apply` creates and configures, `check` tells what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from streams.topics import TOPICS, Topic

TIMEOUT = 15.0


@dataclass(frozen=True)
class Difference:
    topic: str
    what: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, the table says {self.wanted}"


def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def apply(bootstrap: str, prefix: str = "", cells: int = 1, topics: Sequence[Topic] = TOPICS) -> None:
    """Create what is missing and correct what differs. Raises `KafkaException`."""
    client = admin(bootstrap)
    new = [
        NewTopic(t.named(prefix), num_partitions=partitions(t, cells), replication_factor=1, config=t.config())
        for t in topics
    ]
    for future in client.create_topics(new, operation_timeout=TIMEOUT).values():
        try:
            future.result(TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    if check(bootstrap, prefix, cells, topics):
        resources = [_resource(topic, prefix) for topic in topics]
        for changed in client.incremental_alter_configs(resources).values():
            changed.result(TIMEOUT)


def _resource(topic: Topic, prefix: str) -> ConfigResource:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in topic.config().items()
    ]
    return ConfigResource(ResourceType.TOPIC, topic.named(prefix), incremental_configs=entries)


def partitions(topic: Topic, cells: int) -> int:
    return cells if topic.per_cell else topic.partitions


def check(bootstrap: str, prefix: str = "", cells: int = 1, topics: Sequence[Topic] = TOPICS) -> list[Difference]:
    """Where the broker differs from the table. Raises `KafkaException` when it cannot be asked."""
    client = admin(bootstrap)
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
