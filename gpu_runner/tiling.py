"""Decode in overlapping tiles, blended where they overlap: a device then holds the activations of one tile alone.

The same numbers as `tiled_decode` of diffusers' own VAEs (pinned by an equality test), with a pause after every chunk
of a tile, and the decoded tiles kept on the host: float32 frames, overlaps included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from gpu_runner.no_grad import no_grad
from schemas.recipe import VaeTiling

Chunks = list[torch.Tensor]
"""One tile over time: (1, 3, n, height, width) each."""


@dataclass(frozen=True)
class Axis:
    """One side of the grid. `size` and `stride` in latents; what of a tile is `kept` and what overlaps the next one in
    what the VAE decodes to: pixels, or patches of them."""

    size: int
    stride: int
    kept: int
    overlap: int

    @classmethod
    def of(cls, side: int, stride: int, pixels_a_latent: int, pixels_a_patch: int) -> Axis:
        """Raises `ValueError` for sides that are no whole number of latents, or tiles that leave gaps."""
        if side % pixels_a_latent or stride % pixels_a_latent or not 0 < stride <= side:
            raise ValueError(
                f"tiles of {side} pixels every {stride}: both must be multiples of {pixels_a_latent}, without gaps"
            )
        kept = stride // pixels_a_patch
        return cls(side // pixels_a_latent, stride // pixels_a_latent, kept, side // pixels_a_patch - kept)

    def cuts(self, length: int) -> list[slice]:
        return [slice(start, start + self.size) for start in range(0, length, self.stride)]


@dataclass(frozen=True)
class Grid:
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, tiling: VaeTiling, pixels_a_latent: int, pixels_a_patch: int = 1) -> Grid:
        """Raises `ValueError` for tiles that this VAE cannot decode."""
        factors = (pixels_a_latent, pixels_a_patch)
        return cls(
            Axis.of(tiling.tile_sample_min_height, tiling.tile_sample_stride_height, *factors),
            Axis.of(tiling.tile_sample_min_width, tiling.tile_sample_stride_width, *factors),
        )


def decode_tiled(
    latents: torch.Tensor, grid: Grid, decode: Callable[[torch.Tensor], Iterator[torch.Tensor]]
) -> Iterator[torch.Tensor]:
    """Chunks of whole frames; before them, an empty one for every chunk of a tile that is done.

    `latents`: (1, channels, frames, height, width). `decode` gives the chunks of one tile.
    """
    tiles: list[list[Chunks]] = []
    for across in grid.rows.cuts(latents.shape[3]):
        tiles.append([])
        for along in grid.columns.cuts(latents.shape[4]):
            tiles[-1].append([])
            for chunk in decode(latents[:, :, :, across, along]):
                tiles[-1][-1].append(chunk.cpu())
                yield chunk[:, :, :0]
    for number in range(len(tiles[0][0])):
        yield joined([[tile[number] for tile in row] for row in tiles], grid)


@no_grad
def joined(tiles: list[list[torch.Tensor]], grid: Grid) -> torch.Tensor:
    """One chunk of whole frames. Each tile is blended with what the one above and the one before have become."""
    rows, columns, lines = grid.rows, grid.columns, []
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            if i > 0:
                blend(tiles[i - 1][j], tile, rows.overlap, dim=3)
            if j > 0:
                blend(row[j - 1], tile, columns.overlap, dim=4)
        lines.append(torch.cat([tile[:, :, :, : rows.kept, : columns.kept] for tile in row], dim=4))
    return torch.cat(lines, dim=3)


def blend(before: torch.Tensor, after: torch.Tensor, extent: int, dim: int) -> None:
    """Fade from the end of `before` into the start of `after`, in place."""
    extent = min(before.shape[dim], after.shape[dim], extent)
    for place in range(extent):
        share = place / extent
        old = before.select(dim, before.shape[dim] - extent + place)
        new = after.select(dim, place)
        new.copy_(old * (1 - share) + new * share)
