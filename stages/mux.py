"""The track into a finished file: container, metadata, poster; checked before it is published. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.errors import Bug
from schemas.events import Task
from schemas.stage import Stage
from stages.contract import Blob, Context, Output
from stages.video import Probe, probe, remux


class Mux:
    stage = Stage.MUX
    reads: tuple[str, ...] = ("track", "poster")

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        recipe = task.recipe
        context.raise_if_interrupted()
        metadata = {"title": task.job, "job_id": task.job, "model": recipe.model, "seed": str(recipe.seed)}
        video = remux(inputs["track"], metadata)
        found = checked(video, task)
        return Output(
            (Blob("video", video, "video/mp4"), Blob("poster", inputs["poster"], "image/webp")),
            facts={"frames": found.frames, "fps": found.fps, "duration": found.duration,
                   "width": found.width, "height": found.height, "codec": found.codec},
        )  # fmt: skip


def checked(video: bytes, task: Task) -> Probe:
    """Raises `Bug` when the file is not what the recipe asks for."""
    recipe = task.recipe
    try:
        found = probe(video)
    except ValueError as error:
        raise Bug(str(error)) from None
    wanted = (recipe.width, recipe.height, recipe.num_frames)
    if (found.width, found.height, found.frames) != wanted:
        raise Bug(f"the file is {found.width}x{found.height} with {found.frames} frames, not {wanted}")
    return found
