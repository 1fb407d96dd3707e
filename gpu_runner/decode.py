"""Latents to uint8 frames, chunk by chunk; rounded exactly as diffusers rounds its PIL output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from gpu_runner.families.base import Family
from schemas.recipe import VaeTiling

Frames = npt.NDArray[np.uint8]


def to_uint8(chunk: torch.Tensor) -> torch.Tensor:
    """(1, 3, n, height, width) in [-1, 1] to (n, height, width, 3) uint8, on the chunk's device.

    Denormalised in the chunk's own dtype, then float32 for the rounding: in bf16 any other order is off by one.
    """
    frames = (chunk[0] * 0.5 + 0.5).clamp(0, 1).float()
    return (frames * 255).round().to(torch.uint8).permute(1, 2, 3, 0).contiguous()


def decode_frames(family: Family, latents: torch.Tensor, tiling: VaeTiling | None = None) -> Iterator[Frames]:
    """Arrays of (n, height, width, 3), in order. Only the chunk in hand is alive; with tiles, all that follow too."""
    chunks = family.decode(latents) if tiling is None else family.decode_tiled(latents, tiling)
    for chunk in chunks:
        yield to_uint8(chunk).cpu().numpy()
