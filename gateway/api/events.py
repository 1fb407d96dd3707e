"""`/videos/{id}/events`: server-sent events from a job's present state to its end.

Each event carries the whole Video object, so that a client that reconnects with `Last-Event-ID` has missed nothing once
it has the next one. `status` comes with every change of the job, `progress` (or `preview`, where there is
a new one to fetch) at most once a second, `done` last. Who comes back with the id of that gets 204, after which a
browser's EventSource stays away. A stream ends when the key that opened it is revoked.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway.api_keys import Caller
from gateway.dependencies import Gateway, TheCaller, TheGateway
from gateway.problems import Problem
from gateway.read_model.change_notifier import set_within
from gateway.read_model.rows import Row
from gateway.video import DeletedVideo
from runtime import metrics
from schemas.video import Video

WRITTEN = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)
BETWEEN_STEPS_S = 1.0
LOOK_AGAIN_S = 5.0
"""The place in the queue moves without news of the job itself."""

router = APIRouter(prefix="/v1", tags=["videos"])


@dataclass(frozen=True)
class Followed:
    """A job that a client follows, and who it is."""

    gateway: Gateway
    caller: Caller
    job: str
    mark: Mark

    @property
    def is_open(self) -> bool:
        return not self.gateway.changes.closing and self.gateway.keys.is_valid(self.caller)


class NothingMore(Exception):
    """The client has been told of the end of its job: answered with 204."""


async def followed(
    video_id: str, gateway: TheGateway, caller: TheCaller, last_event_id: Annotated[str | None, Header()] = None
) -> AsyncIterator[Followed]:
    """Raises `Problem`: 404, or 429 for a tenant that has as many streams as it may. Raises `NothingMore`."""
    tenant, mark = caller.tenant, Mark.of(last_event_id)
    row = await gateway.row(tenant, video_id)
    if row.state.status.ended and mark == Mark.at(row):
        raise NothingMore
    if gateway.streams[tenant] >= gateway.settings.gateway_streams:
        raise Problem("too_many_streams", "you have too many event streams open", retry_after=5)
    gateway.streams[tenant] += 1
    metrics.HTTP_STREAMS.inc()
    try:
        yield Followed(gateway, caller, row.state.job, mark)
    finally:
        gateway.streams[tenant] -= 1
        metrics.HTTP_STREAMS.dec()


@router.get(
    "/videos/{video_id}/events", name="events", response_class=EventSourceResponse, summary="Watch a video being made",
    responses={204: {"description": "`last-event-id` is that of `done`: there is nothing more"}},
)  # fmt: skip
async def video_events(job: Annotated[Followed, Depends(followed)]) -> AsyncIterator[ServerSentEvent]:
    """Events `status`, `progress`, `preview`, `done`; a comment every 15 s; closes after `done`, and when the API key
    is revoked."""
    told = Told(job.mark)
    with job.gateway.changes.subscribe(job.job, job.caller.key) as news:
        while job.is_open:
            news.clear()
            seen = await job.gateway.seen(job.caller.tenant, job.job)
            if seen is None:
                yield ServerSentEvent(event="done", data=DeletedVideo(id=job.job))
                return
            row, video, mark = seen.row, seen.video, Mark.at(seen.row)
            if word := told.word_for(mark, video, row.state.status.ended, time.monotonic()):
                yield ServerSentEvent(event=word, id=str(mark), raw_data=seen.json)
            if word == "done":
                return
            await set_within(news, told.patience(video, time.monotonic()))


@dataclass(frozen=True)
class Mark:
    """How much a client has been told: the job's version and its step, as `Last-Event-ID` has them."""

    version: int = -1
    step: int = -1

    @classmethod
    def at(cls, row: Row) -> Mark:
        return cls(row.version, row.step or 0)

    @classmethod
    def of(cls, text: str | None) -> Mark:
        """What cannot be read is as good as nothing: the client is told everything."""
        found = WRITTEN.fullmatch(text or "")
        return cls(int(found[1]), int(found[2])) if found else cls()

    def __str__(self) -> str:
        return f"{self.version}.{self.step}"


@dataclass
class Told:
    """What a client has been told last, and when: so much for what is news to it. Times are monotonic seconds."""

    mark: Mark
    video: Video | None = None
    at: float = -BETWEEN_STEPS_S

    def word_for(self, mark: Mark, video: Video, ended: bool, now: float) -> str | None:
        """The event to send now; None where nothing is news, or it is too early for another step."""
        if self.video is None and mark == self.mark:
            self.video = video
        changed = mark.version != self.mark.version
        if not (ended or changed or (video != self.video and now >= self.at + BETWEEN_STEPS_S)):
            return None
        before, self.mark, self.video, self.at = self.video, mark, video, now
        if ended or changed:
            return "done" if ended else "status"
        return "progress" if has_same_preview(before, video) else "preview"

    def patience(self, video: Video, now: float) -> float:
        """Seconds until it is worth looking again without news."""
        return LOOK_AGAIN_S if video == self.video else max(self.at + BETWEEN_STEPS_S - now, 0.0)


def has_same_preview(before: Video | None, now: Video) -> bool:
    return before is None or before.x_latentline.preview_step == now.x_latentline.preview_step
