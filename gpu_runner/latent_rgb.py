"""A linear map from latents to colours, for previews: `python -m gpu_runner.latent_rgb FOLDER` fits and notes it.

No decoder runs beside a denoise. What one latent says of the colour of its pixels is nearly linear, so the map is the
least-squares fit of soft random pictures to what the VAE's encoder makes of them. It goes into the folder's
`latentline.json`, and is part of no stage key: a preview determines no output.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import torch
from torch.nn import functional

from gpu_runner.bundle import Bundle
from gpu_runner.families import family_of
from gpu_runner.families.base import Family
from gpu_runner.no_grad import no_grad
from schemas.bundle import MANIFEST_NAME, ColourMap, LatentColours

PICTURES, LATENTS_A_SIDE, DIGITS = 64, 8, 4

Frames = npt.NDArray[np.uint8]


def picture_of(latents: torch.Tensor, colours: LatentColours) -> Frames:
    """Latents (1, channels, frames, height, width) on the CPU to uint8 (frames, height, width, 3)."""
    parts = [(latents[0, :, :1], colours.first), (latents[0, :, 1:], colours.later)]
    pixels = torch.cat([mapped(part.float(), colour) for part, colour in parts])
    frames: Frames = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return frames


def mapped(latents: torch.Tensor, colour: ColourMap) -> torch.Tensor:
    return torch.einsum("cfhw,rc->fhwr", latents, torch.tensor(colour.weights)) + torch.tensor(colour.bias)


@no_grad
def fit(family: Family) -> tuple[LatentColours, float]:
    """The maps, and how much of the colours' variance the worse one explains. The decoder must be loaded.

    Raises `NotImplementedError` for a family that makes no previews.
    """
    geometry = family.bundle.manifest.geometry
    pictures = soft_pictures(LATENTS_A_SIDE * geometry.vae_scale_factor_spatial)
    still = pictures[:, :, None].expand(-1, -1, 1 + geometry.vae_scale_factor_temporal, -1, -1)
    latents = torch.cat([family.latents_of(clip[None]) for clip in still]).cpu()
    wanted = functional.avg_pool2d(pictures, geometry.vae_scale_factor_spatial) * 0.5 + 0.5
    (first, well), (later, less) = (least_squares(latents[:, :, place], wanted) for place in (0, 1))
    return LatentColours(first=first, later=later), min(well, less)


def least_squares(latents: torch.Tensor, colours: torch.Tensor) -> tuple[ColourMap, float]:
    """Latents (n, channels, height, width) and their colours (n, 3, height, width); the share of variance explained."""
    known = torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1).movedim(1, -1).flatten(0, 2).double()
    wanted = colours.movedim(1, -1).flatten(0, 2).double()
    solution = torch.linalg.lstsq(known, wanted).solution
    left = (known @ solution - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()
    rows = [tuple(round(float(value), DIGITS) for value in row) for row in solution.T]
    return ColourMap.model_validate(
        {"weights": [row[:-1] for row in rows], "bias": [row[-1] for row in rows]}
    ), 1 - float(left)


def soft_pictures(side: int) -> torch.Tensor:
    """Patches of random colours that run into each other, and plain ones: (n, 3, side, side) in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(PICTURES, 3, 4, 4, generator=generator) * 2 - 1
    plain = torch.rand(PICTURES, 3, 1, 1, generator=generator) * 2 - 1
    grown = functional.interpolate(small, size=(side, side), mode="bilinear", align_corners=True)
    return torch.cat([grown, plain.expand(-1, -1, side, side)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where latentline.json is")
    folder = parser.parse_args().folder
    bundle = Bundle.open(folder)
    family = family_of(bundle.manifest.family)(bundle, torch.device("cpu"))
    family.load_decoder()
    colours, explained = fit(family)
    manifest = bundle.manifest.model_copy(update={"latent_colours": colours})
    data = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / MANIFEST_NAME).write_bytes(data)
    print(f"{math.floor(explained * 100)} % of the colours' variance is explained; {folder / MANIFEST_NAME} is written")


if __name__ == "__main__":
    main()
