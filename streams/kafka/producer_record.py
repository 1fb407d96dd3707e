"""A record on its way out, before any client has it."""

from __future__ import annotations

from typing import NamedTuple

from schemas.envelope import Headers
from streams.kafka.topics import Topic


class ProducerRecord(NamedTuple):
    """A record to be produced. `partition` None: the client's partitioner chooses by key (public topics alone)."""

    topic: Topic
    key: str | None
    value: bytes | None
    headers: Headers = []
    partition: int | None = None
