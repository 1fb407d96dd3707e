"""What the line must know of a model without loading it: `latentline.json` beside `model_index.json`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from schemas.base import Frozen
from schemas.recipe import VaeTiling

MANIFEST_NAME = "latentline.json"
LONGEST_SIDE = 16383
"""Pixels. A video's poster is a webp, which has no longer side."""


class Geometry(Frozen):
    """Factors between pixels and latents, normally read off the VAE, which most stages do not load."""

    latent_channels: int = Field(gt=0)
    vae_scale_factor_spatial: int = Field(gt=0, description="pixels a latent, along height and width")
    vae_scale_factor_temporal: int = Field(gt=0, description="frames a latent, after the first")


LONGEST_PROMPT = 4096
"""Characters: a job's state holds four such texts, and has a cap (`streams.coordinator.core.records`)."""


class Limits(Frozen):
    """What a job of this model may ask for. Pixels are width x height of one frame.

    Bounds of width and height alone are those of the model's own config, such as how many positions its transformer
    knows. A manifest of before they were written has none: the line's own bound is left, and the model's is checked
    where it is loaded.
    """

    size_multiple: int = Field(gt=0, description="width and height are multiples of this")
    min_side: int = Field(gt=0)
    max_pixels: int = Field(gt=0)
    min_width: int = Field(1, gt=0, description="beside min_side, for a model that makes one size alone")
    max_width: int = Field(LONGEST_SIDE, gt=0, le=LONGEST_SIDE)
    min_height: int = Field(1, gt=0)
    max_height: int = Field(LONGEST_SIDE, gt=0, le=LONGEST_SIDE)
    frame_step: int = Field(gt=0, description="num_frames is k * frame_step + 1")
    max_frames: int = Field(gt=0)
    max_sequence_length: int = Field(gt=0, description="tokens of a prompt, end token included")
    max_prompt_characters: int = Field(gt=0, le=LONGEST_PROMPT)
    max_inference_steps: int = Field(gt=0)
    max_guidance_scale: float = Field(gt=0)
    max_fps: int = Field(gt=0)
    schedulers: tuple[str, ...]


class Defaults(Frozen):
    """What an unset field of a prompt becomes."""

    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    scheduler: str
    flow_shift: float


class Components(Frozen):
    """Digests of the files that each stage loads: all of the bundle that determines its output."""

    encode: str
    denoise: str
    decode: str


class ColourMap(Frozen):
    """What a latent says of the colour of its pixels, red, green and blue from 0 to 1: `weights` @ latent + `bias`."""

    weights: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] = Field(description="3 x latent channels")
    bias: tuple[float, float, float]


class LatentColours(Frozen):
    """A causal VAE writes the first frame, which stands alone, in other latents than the later ones."""

    first: ColourMap
    later: ColourMap


class BundleManifest(Frozen):
    model: str = Field(description="name that a prompt asks for")
    family: str = Field(description="which loop and which components: `wan`, ...")
    source: str = Field(".", description="`.` = this folder, another folder, or a hub repository id")
    source_revision: str | None = Field(None, description="commit of the hub repository")
    dtype: str = Field("float32", description="torch dtype of transformer and text encoder")
    vae_dtype: str = Field("float32", description="torch dtype of the VAE")
    revision: str = Field(description="digest of all component digests")
    components: Components
    files: dict[str, str] = Field({}, description="SHA-256 of every file of the components, to name one that differs")
    geometry: Geometry
    limits: Limits
    defaults: Defaults
    vocabulary: tuple[str, ...] | None = Field(None, description="every word it knows; unset: it reads any text")
    vae_tiling: VaeTiling | None = Field(None, description="how decode is tiled when a device has too little memory")
    latent_colours: LatentColours | None = Field(None, description="for previews; unset: there are none")


def read_bundles(folders: str | list[Path]) -> dict[str, BundleManifest]:
    """Manifests by model name, from folders or a path-separated list of them.

    Raises `FileNotFoundError` for a folder without manifest, `ValueError` for two bundles of one name.
    """
    paths = [Path(folder) for folder in folders.split(os.pathsep)] if isinstance(folders, str) else folders
    bundles: dict[str, BundleManifest] = {}
    for path in paths:
        manifest = BundleManifest.read((path / MANIFEST_NAME).read_bytes())
        if manifest.model in bundles:
            raise ValueError(f"two bundles are called {manifest.model!r}; the second is {path}")
        bundles[manifest.model] = manifest
    return bundles
