"""A record on its way out, before any client has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.envelope import Headers
from streams.topics import Topic


@dataclass(frozen=True)
class Outgoing:
    """A record to be produced. `partition` None: the client's partitioner chooses by key (public topics alone)."""

    topic: Topic
    key: str | None
    value: bytes | None
    headers: Headers = field(default_factory=list)
    partition: int | None = None
