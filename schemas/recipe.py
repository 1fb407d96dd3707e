"""The recipe: everything that determines the pixels, normalised once, with one digest."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import Field

from schemas.base import Frozen
from schemas.digest import digest

SEED_LIMIT = 2**32


class Encoding(Frozen):
    """How frames become H.264: x264's own words."""

    codec: str = "libx264"
    preset: str = "veryfast"
    crf: int = Field(18, ge=0, le=51)
    gop_size: int = Field(48, gt=0, description="frames between key frames")
    threads: int = Field(1, gt=0, description="another thread count gives other bytes")


class Recipe(Frozen):
    """One video, exactly. `revision` is the digest of the bundle that `model` names."""

    model: str
    revision: str
    prompt: str
    negative_prompt: str
    seed: int = Field(ge=0, lt=SEED_LIMIT)
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

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

    @property
    def seconds(self) -> float:
        """Duration of the video in seconds."""
        return self.num_frames / self.fps

    def subset(self, *fields: str) -> dict[str, Any]:
        return self.model_dump(mode="json", include=set(fields))


def derived_seed(job: str) -> int:
    """The seed of a job that asked for none: the same at every replay of its prompt."""
    return int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], "big")
