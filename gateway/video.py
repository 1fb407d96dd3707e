"""The Video object as the gateway answers with it: a row of the read model, its place in the queue, the time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from gateway.read_model.eta import EtaEstimator
from gateway.read_model.read_model import ReadModel
from gateway.read_model.rows import Row
from schemas import video
from schemas.bundle import BundleManifest
from schemas.job import JobStatus
from schemas.recipe import Recipe
from schemas.video import Live, Video, status_of
from schemas.vocabulary import warnings_of

SHORTEST_POLL_MS, LONGEST_POLL_MS, POLLS = 1000, 10_000, 8


class VideoList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class DeletedVideo(BaseModel):
    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


def video_of(row: Row, model: ReadModel, pace: EtaEstimator, bundles: Mapping[str, BundleManifest] = {}) -> Video:
    """What a client is told of a job. Asks the read model for its place in the queue, and `bundles` for the words that
    its model does not know."""
    state = row.state
    waiting = state.status is JobStatus.WAITING
    untimed = state.status.ended or status_of(state) == "queued"
    live = Live(
        percent=row.percent, step=row.step, steps=row.steps, preview_step=row.preview_step,
        queue_position=(model.ahead_of(state) if row.ahead is None else row.ahead) if waiting else None,
        eta_s=None if untimed else pace.left(row),
    )  # fmt: skip
    shown = video.video_of(state, live, warnings(state.recipe, bundles))
    if (record := row.record) is not None:
        more = {"model": record.model, "size": record.size, "seconds": f"{record.duration_s:g}"}
        return shown.model_copy(update=more)
    return shown


def warnings(recipe: Recipe | None, bundles: Mapping[str, BundleManifest]) -> tuple[str, ...]:
    bundle = bundles.get(recipe.model) if recipe else None
    if recipe is None or bundle is None or bundle.revision != recipe.revision:
        return ()
    return warnings_of(bundle, recipe.prompt, recipe.negative_prompt)


def poll_after_ms(video: Video) -> int:
    """The client keeps the first answer for all its polls: about so many of them until the expected end."""
    left = video.x_latentline.eta_s
    wanted = SHORTEST_POLL_MS if left is None else int(left[0] * 1000 / POLLS)
    return min(max(wanted, SHORTEST_POLL_MS), LONGEST_POLL_MS)
