"""Partition counts as a process meets them. Work is addressed by number, so a wrong count would leave some unserved."""

from __future__ import annotations

from collections.abc import Iterable

import stamina
import structlog
from confluent_kafka import Consumer, KafkaException

from runtime.settings import Settings
from streams.kafka.topics import Topic

ANSWER_WITHIN_S = 20.0
TOO_MANY = (
    "Partitions cannot be taken away, and more than one cell is refused for now: delete the topic while the line is "
    "down and `latentline topics apply` makes it anew (its records are lost with it), or give the line another "
    "LATENTLINE_TOPIC_PREFIX"
)
"""What to do about a topic of one partition a cell that has more of them."""

log = structlog.get_logger(__name__)


class WrongPartitions(Exception):
    """A topic cannot be used with the partitions that it has; the message says what to do."""


@stamina.retry(on=KafkaException, attempts=None, timeout=30.0)
def check_partitions(client: Consumer, settings: Settings, topics: Iterable[Topic]) -> None:
    """Raises `WrongPartitions` for a topic with too few, or of one partition a cell with another number of them.

    Raises `KafkaException` when the broker does not tell.
    """
    found = client.list_topics(timeout=ANSWER_WITHIN_S).topics
    for topic in topics:
        name = topic.named(settings.topic_prefix)
        if name in found:
            check_count(topic, name, len(found[name].partitions), settings.cells)


def check_count(topic: Topic, name: str, found: int, cells: int) -> None:
    """A topic that is not there yet has none: clients wait for it."""
    wanted = cells if topic.per_cell else topic.partitions
    if found and found < wanted:
        raise WrongPartitions(f"{name} has {found} of {wanted} partitions: `latentline topics apply` adds the others")
    if topic.per_cell and found > wanted:
        raise WrongPartitions(
            f"{name} has {found} partitions and the line {wanted} cell(s): nobody would serve the others. {TOO_MANY}"
        )
    if found > wanted:
        log.warning("a topic has more partitions than the table says", topic=name, found=found, table=wanted)
