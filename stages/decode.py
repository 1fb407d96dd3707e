"""Latents to an H.264 track: x264 encodes a chunk while the device decodes the next. Loads the VAE, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from gpu_runner.decode import Frames, decode_frames
from gpu_runner.device import memory_errors
from gpu_runner.families.base import Family
from schemas.events.tasks import Task
from schemas.recipe import Recipe
from schemas.stage import Stage
from stages.contract import Blob, Context, Output
from stages.media.h264 import VideoEncoder, webp
from stages.tensors import from_bytes


class Decode:
    stage = Stage.DECODE
    reads: tuple[str, ...] = ("latents",)

    def __init__(self, family: Family) -> None:
        family.load_decoder()
        self.family = family

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        recipe = task.recipe
        latents = from_bytes(inputs["latents"])["latents"]
        with memory_errors():
            chunks = decode_frames(self.family, latents, recipe.vae_tiling)
            track, poster, count = encode_chunks(chunks, recipe, context)
        return Output(
            (Blob("track", track, "video/mp4"), Blob("poster", poster, "image/webp")),
            facts={"frames": count, "fps": recipe.fps, "width": recipe.width, "height": recipe.height},
        )


def encode_chunks(chunks: Iterator[Frames], recipe: Recipe, context: Context) -> tuple[bytes, bytes, int]:
    """Track, poster of the middle frame, and frame count. At most two chunks are alive at a time.

    An empty chunk is a sign of work, and a place to stop.
    """
    encoder = VideoEncoder(recipe.width, recipe.height, recipe.fps, recipe.encoding)
    middle, count, poster = recipe.num_frames // 2, 0, b""
    with ThreadPoolExecutor(1, thread_name_prefix="x264") as thread:
        busy = None
        for frames in chunks:
            context.raise_if_interrupted()
            if count <= middle < count + len(frames):
                poster = webp(frames[middle - count])
            count += len(frames)
            if busy is not None:
                busy.result()
            busy = thread.submit(encoder.write, frames)
            context.progress(count, recipe.num_frames)
        if busy is not None:
            busy.result()
        return thread.submit(encoder.finish).result(), poster, count
