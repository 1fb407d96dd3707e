"""How far a reader of committed records gets in a partition, and where its log ends.

The two differ while a producer holds a transaction open: whatever anybody writes behind its first record, committed or
not, is read by nobody until it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from runtime.settings import Settings
from streams.kafka import clients

HELD_AFTER_S = 15.0
"""Longer than a transaction of ours may live (10 s): one that holds readers for longer is somebody else's, or hangs."""
ANSWER_WITHIN_S = 10.0

Place = tuple[str, int]
"""Topic and partition."""


class Ends(NamedTuple):
    """The last stable offset, and the offset of the next record."""

    stable: int
    end: int

    @property
    def lag(self) -> int:
        return max(self.end - self.stable, 0)


def admin_client(settings: Settings) -> AdminClient:
    """To ask where topics end. One that was refused is to be replaced: it goes on with the leader epochs it once
    learned, and a broker that was restarted since refuses these for minutes."""
    return AdminClient(clients.config(clients.COMMON, settings), logger=clients.librdkafka_logger())


def ends_of(admin: AdminClient, places: Iterable[Place]) -> dict[Place, Ends]:
    """Raises `KafkaException` when the broker does not answer."""
    asked = tuple(places)
    stable = _latest(admin, asked, IsolationLevel.READ_COMMITTED)
    # Asked second: it can only have grown meanwhile.
    end = _latest(admin, asked, IsolationLevel.READ_UNCOMMITTED)
    return {place: Ends(stable[place], end[place]) for place in asked}


def _latest(admin: AdminClient, places: tuple[Place, ...], level: IsolationLevel) -> dict[Place, int]:
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    futures = admin.list_offsets(
        {TopicPartition(*place): latest for place in places}, isolation_level=level, request_timeout=ANSWER_WITHIN_S
    )
    return {(place.topic, place.partition): future.result().offset for place, future in futures.items()}
