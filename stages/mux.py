"""The track into a finished file: container, metadata; checked before it is published. Beside it poster and
spritesheet. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import Bug
from schemas.events.tasks import Task
from schemas.stage import Stage
from stages.contract import Blob, Context, Output
from stages.media.h264 import Probe, probe, remux
from stages.media.spritesheet import Spritesheet


class Mux:
    stage = Stage.MUX
    reads: tuple[str, ...] = ("track", "poster")

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        context.raise_if_interrupted()
        recipe = task.recipe
        sheet = Spritesheet(recipe.width, recipe.height, recipe.num_frames)
        video, found = checked_video(inputs["track"], task, sheet)
        return Output(
            (
                Blob("video", video, "video/mp4"),
                Blob("poster", inputs["poster"], "image/webp"),
                Blob("spritesheet", sheet.finish(), "image/jpeg"),
            ),
            facts={"frames": found.frames, "fps": found.fps, "duration": found.duration,
                   "width": found.width, "height": found.height, "codec": found.codec},
        )  # fmt: skip


def checked_video(track: bytes, task: Task, sheet: Spritesheet) -> tuple[bytes, Probe]:
    """The finished file and what is in it; `sheet` sees its frames. Raises `Bug` when it is not what was asked for."""
    recipe = task.recipe
    metadata = {"title": task.job, "job_id": task.job, "model": recipe.model, "seed": str(recipe.seed)}
    try:
        video = remux(track, metadata)
        found = probe(video, sheet.see)
    except ValueError as error:
        raise Bug(f"the track that decode gave cannot be finished: {error}") from None
    wanted = (recipe.width, recipe.height, recipe.num_frames, recipe.fps)
    if (found.width, found.height, found.frames, found.fps) != wanted:
        raise Bug(
            f"the file is {found.width}x{found.height} with {found.frames} frames at {found.fps:g} fps, "
            f"not {recipe.width}x{recipe.height} with {recipe.num_frames} at {recipe.fps}"
        )
    return video, found
