"""What a denoise is becoming, for people: a small animated picture every few seconds, made beside the steps.

The step stands still only while the latents are copied to the CPU; projection, webp and upload are a thread's. One
preview is under way at most, so a slow store means fewer of them, and the time between two is a hundred times what the
last one has cost: a denoise is never slowed down by more than a hundredth.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from PIL import Image

from gpu_runner.families.base import Family
from gpu_runner.latent_rgb import Frames, picture_of
from schemas.bundle import LatentColours
from schemas.recipe import Recipe
from stages.contract import Context

LARGEST_SHARE = 0.01
"""Of the time of a denoise that previews may take from it."""
LEAST_S = 1.0
FAILED_S = 0.1
"""What one that failed counts as: the next comes ten seconds later."""

log = logging.getLogger(__name__)


class PreviewWriter:
    """Previews of one denoise. One that cannot be made or kept is logged, and costs nothing but itself (or, where the
    latents themselves cannot be had, those after it)."""

    def __init__(
        self, context: Context, colours: LatentColours | None, frame_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`colours`: None for a model without previews. `frame_seconds`: how long a frame of latents lasts."""
        self.context, self.colours, self.frame_seconds, self.clock = context, colours, frame_seconds, clock
        self.cost = 0.0
        """Seconds that the last one took from the steps: the copy, and the CPU of the thread."""
        self._last = clock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="preview")
        self._pending: Future[None] | None = None

    @classmethod
    def of(cls, family: Family, recipe: Recipe, context: Context) -> PreviewWriter:
        manifest = family.bundle.manifest
        seconds = manifest.geometry.vae_scale_factor_temporal / recipe.fps
        return cls(context, manifest.latent_colours, seconds)

    def is_due(self) -> bool:
        if self.colours is None or (self._pending is not None and not self._pending.done()):
            return False
        return self.clock() - self._last >= max(LEAST_S, self.cost / LARGEST_SHARE)

    def show(self, step: int, latents: Callable[[], torch.Tensor]) -> None:
        """`latents`: gives those of the finished video as the model expects them, on the CPU."""
        start = self.clock()
        try:
            copy = latents()
        except Exception as error:
            log.warning("no_more_previews", extra={"step": step, "error": str(error)})
            self.colours = None
            return
        self._last = self.clock()
        self._pending = self._thread.submit(self._make, self.colours, step, copy, self._last - start)

    def close(self) -> None:
        """Waits for nothing: the denoise is over, and its preview with it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _make(self, colours: LatentColours | None, step: int, latents: torch.Tensor, copying: float) -> None:
        start, least = time.thread_time(), 0.0
        try:
            assert colours is not None
            self.context.preview(step, animated(picture_of(latents, colours), self.frame_seconds))
        except Exception as error:
            log.warning("preview_not_made", extra={"step": step, "error": str(error)})
            least = FAILED_S
        finally:
            self.cost = max(copying + time.thread_time() - start, least)


def animated(frames: Frames, frame_seconds: float) -> bytes:
    """(frames, height, width, 3) as a webp that begins again at its end."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    first.save(
        buffer, "webp", save_all=True, append_images=others, duration=max(round(frame_seconds * 1000), 20), loop=0,
        quality=70, method=0,
    )  # fmt: skip
    return buffer.getvalue()
