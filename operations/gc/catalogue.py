"""The catalogue as a reader of `videos` keeps it: of each video where its record lies and when it expires."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.base import Frozen
from schemas.catalogue import FILLED, CatalogueFilled, CatalogueRecord, VideoRecord
from schemas.envelope import Headers
from schemas.events.prompts import DeleteRequested
from schemas.events.tenants import TenantSettings
from schemas.retention import Retention


class Video(NamedTuple):
    """`expires_at`: unix seconds. One that has no class is from before there were classes."""

    tenant: str
    partition: int
    expires_at: float | None
    has_class: bool


class Request(NamedTuple):
    """A delete of a video whose job the coordinator has forgotten, as it came."""

    job: str
    tenant: str
    partition: int
    value: bytes
    headers: Headers


@dataclass
class Catalogue:
    """`seconds`: how long each class keeps a video; `requests` by the place from which they came.

    `is_filled`: every finished video has its record, so that one without is nobody's.
    """

    seconds: Mapping[Retention, float] = field(default_factory=dict)
    videos: dict[str, Video] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    is_filled: bool = False
    _earlier: dict[str, float] = field(default_factory=dict)
    """By tenant: when the videos without a class expire."""
    _index: list[tuple[float, str]] = field(default_factory=list)
    """A heap of due times. An entry may be stale: what counts is the video."""

    def take(
        self, key: str, event: Frozen | None, partition: int, value: bytes = b"", headers: Headers | None = None
    ) -> None:
        """The next record of `videos`; None is a tombstone."""
        if event is None:
            self.videos.pop(key, None)
            self.requests.pop(key, None)
        elif isinstance(event, CatalogueRecord | VideoRecord):
            self.videos[key] = Video(event.tenant, partition, event.expires_at, event.retention is not None)
            self._note(key)
        elif isinstance(event, DeleteRequested):
            self.requests[key] = Request(event.job, event.tenant, partition, value, headers or [])
        elif isinstance(event, CatalogueFilled) and key == FILLED:
            self.is_filled = True

    def set(self, settings: TenantSettings) -> None:
        """What an operator has set for the videos of before there were classes."""
        kept = None if settings.retention_of_earlier is None else self.seconds.get(settings.retention_of_earlier)
        if kept is None:
            self._earlier.pop(settings.tenant, None)
        else:
            self._earlier[settings.tenant] = settings.set_at + kept
        for job, video in self.videos.items():
            if video.tenant == settings.tenant and not video.has_class:
                self._note(job)

    def has(self, job: str, tenant: str) -> bool:
        video = self.videos.get(job)
        return video is not None and video.tenant == tenant

    def expiry(self, video: Video) -> float | None:
        return video.expires_at if video.has_class else self._earlier.get(video.tenant)

    def _note(self, job: str) -> None:
        due = self.expiry(self.videos[job])
        if due is not None:
            heapq.heappush(self._index, (due, job))

    def due(self, now: float, most: int) -> list[str]:
        """Videos that have expired, each once: see `again`."""
        found: list[str] = []
        while self._index and self._index[0][0] <= now and len(found) < most:
            _, job = heapq.heappop(self._index)
            video = self.videos.get(job)
            expires_at = None if video is None else self.expiry(video)
            if expires_at is not None and expires_at <= now:
                found.append(job)
        return found

    def again(self, job: str, at: float) -> None:
        """Tell of it once more, should it still be there then."""
        heapq.heappush(self._index, (at, job))
