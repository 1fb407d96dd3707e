"""One look at a job for all who follow it: a change that a thousand streams wait for is read and written out once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property

from gateway.read_model.rows import Row
from schemas.video import Video

Key = tuple[str, str, int]
"""Tenant, job, and how often news has been told: a look that began before the latest news may have missed it."""


@dataclass(frozen=True)
class Snapshot:
    row: Row
    video: Video

    @cached_property
    def json(self) -> str:
        return self.video.model_dump_json()


@dataclass
class SnapshotCache:
    """Lives on the event loop."""

    look: Callable[[str, str], Awaitable[Snapshot | None]]
    _under_way: dict[Key, asyncio.Future[Snapshot | None]] = field(default_factory=dict)

    async def at(self, tenant: str, job: str, news: int) -> Snapshot | None:
        """None for a job that is not there, or is not this tenant's."""
        key = tenant, job, news
        if key not in self._under_way:
            looking = self._under_way[key] = asyncio.ensure_future(self.look(tenant, job))
            looking.add_done_callback(lambda _: self._under_way.pop(key))
        # One who goes away does not take it from the others.
        return await asyncio.shield(self._under_way[key])
