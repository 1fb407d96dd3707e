"""The recipe: everything that determines the pixels, normalised once, with one digest."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from pydantic import Field

from schemas.base import Frozen, Whole
from schemas.digest import digest

LARGEST_SEED = 2**64 - 1
"""What torch takes, and scripts of this trade print. torch's generator on a CPU, which draws our noise, tells apart
only the lowest 32 bits."""
FIRST_BLOCK_CACHE = "first_block_cache"


class Encoding(Frozen):
    """How frames become H.264: x264's own words."""

    codec: str = "libx264"
    preset: str = "veryfast"
    crf: int = Field(18, ge=0, le=51)
    gop_size: int = Field(48, gt=0, description="frames between key frames")
    threads: int = Field(1, gt=0, description="another thread count gives other bytes")


class FeatureCache(Frozen):
    """Outputs of a transformer's blocks, used again while they hardly change: diffusers' kinds and settings.

    What a cache holds is too large for a checkpoint. So every run empties it after each `cache_reset_every` steps and
    is saved only there: an interrupted run then equals one that was not.
    """

    kind: str = Field(FIRST_BLOCK_CACHE, max_length=64)
    threshold: float = Field(0.05, description="relative change of the first block's residual that is still no change")
    cache_reset_every: Whole = Field(10, description="denoise steps between two reset points")


class VaeTiling(Frozen):
    """Decode in overlapping tiles: sides of a tile, and from one tile to the next, in pixels.

    Named as diffusers' `enable_tiling` names them. It changes pixels, so a tiled video is another recipe.
    """

    tile_sample_min_height: int = Field(gt=0)
    tile_sample_min_width: int = Field(gt=0)
    tile_sample_stride_height: int = Field(gt=0)
    tile_sample_stride_width: int = Field(gt=0)

    def divides(self, width: int, height: int) -> bool:
        """Whether a frame of this size is more than one tile; else tiling saves nothing."""
        return width > self.tile_sample_min_width or height > self.tile_sample_min_height


class Recipe(Frozen):
    """One video, exactly. `revision` is the digest of the bundle that `model` names.

    A setting that is off is None and left out of every digest, so that a setting a later release adds changes no key.
    """

    model: str
    revision: str
    prompt: str
    negative_prompt: str
    seed: int = Field(ge=0, le=LARGEST_SEED)
    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    flow_shift: float
    max_sequence_length: int
    encoding: Encoding = Encoding()
    cache: FeatureCache | None = None
    vae_tiling: VaeTiling | None = Field(None, description="decode in tiles, for want of memory")

    @property
    def digest(self) -> str:
        """A field that a later release adds, and a recipe does not set, changes no digest."""
        return digest_of(self)

    @property
    def seconds(self) -> float:
        """Duration of the video in seconds."""
        return self.num_frames / self.fps


@lru_cache(maxsize=2**16)
def digest_of(recipe: Recipe) -> str:
    """Every task of a job carries it, and the job's state holds the recipe anyway."""
    return digest(recipe.to_dict())


def derived_seed(job: str) -> int:
    """The seed of a job that asked for none: the same at every replay of its prompt. It has 32 bits."""
    return int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], "big")
