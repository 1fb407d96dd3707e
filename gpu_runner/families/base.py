"""What differs between model families, behind one small interface. Each method needs only its own component."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch

from gpu_runner.bundle import Bundle
from schemas.bundle import Defaults, Geometry, Limits
from schemas.limits import checked_size, valid_frames
from schemas.recipe import Recipe, VaeTiling

Tensors = dict[str, torch.Tensor]
Config = Mapping[str, Any]


class Family(ABC):
    """Stateless apart from the components loaded; `bundle` gives geometry, since a stage has no VAE to ask."""

    components: ClassVar[dict[str, tuple[str, ...]]]
    """Folders that each stage loads, by stage name; they determine the stage's component digest."""

    schedulers: ClassVar[tuple[str, ...]]
    """Names that a recipe may ask for."""

    defaults: ClassVar[Defaults]
    """What released checkpoints are run with; a bundle's manifest may say otherwise."""

    max_sequence_length: ClassVar[int]
    """Tokens of a prompt that released checkpoints were trained with, end token included."""

    vae_tiling: ClassVar[VaeTiling]
    """The tiles that diffusers takes by default; a bundle's manifest may say otherwise."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle, self.device = bundle, device

    @classmethod
    @abstractmethod
    def geometry(cls, vae: Config) -> Geometry:
        """The factors between pixels and latents, from the VAE's config."""

    @classmethod
    @abstractmethod
    def multiples(cls, geometry: Geometry, transformer: Config) -> tuple[int, int]:
        """Pixels that both sides are multiples of, and frames between two valid frame counts k * step + 1.

        Raises `ValueError` for a transformer whose frame counts are of no such form.
        """

    @classmethod
    @abstractmethod
    def bounded(cls, limits: Limits, geometry: Geometry, transformer: Config) -> Limits:
        """The limits, narrowed to what a transformer of this config can compute at all."""

    def check(self, recipe: Recipe) -> None:
        """Raises `InvalidJob` for what the loaded transformer cannot compute. Its description says so too, and what it
        refuses does not come here: but one that an earlier release wrote does not know."""
        manifest = self.bundle.manifest
        limits = self.bounded(manifest.limits, manifest.geometry, self.denoisers[0].config)
        checked_size(f"{recipe.width}x{recipe.height}", limits)
        valid_frames(recipe.num_frames, limits)

    @abstractmethod
    def load_encoder(self) -> None: ...

    @abstractmethod
    def load_denoiser(self) -> None: ...

    @abstractmethod
    def load_decoder(self) -> None: ...

    @property
    @abstractmethod
    def denoisers(self) -> tuple[Any, ...]:
        """The transformers that `load_denoiser` has loaded."""

    @abstractmethod
    def encode(self, recipe: Recipe) -> Tensors:
        """Conditioning of prompt and negative prompt. Raises `InvalidJob` when the prompt has too many tokens."""

    @abstractmethod
    def scheduler(self, recipe: Recipe) -> Any:
        """A fresh scheduler with its timesteps set."""

    @abstractmethod
    def start(self, recipe: Recipe) -> Tensors:
        """What the loop carries into its first step: `latents`, drawn on the CPU from the recipe's seed, and
        whatever else the family's steps hand on. A checkpoint holds all of it."""

    @abstractmethod
    def step(self, recipe: Recipe, scheduler: Any, index: int, carried: Tensors, embeds: Tensors) -> Tensors:
        """What the loop carries after step `index`, counted from 0. `scheduler` goes one step on."""

    def latents(self, recipe: Recipe, carried: Tensors) -> torch.Tensor:
        """What decode reads, from what the last step left."""
        return carried["latents"]

    def expected(self, recipe: Recipe, scheduler: Any, index: int, before: Tensors, after: Tensors) -> torch.Tensor:
        """What the latents will be if all goes on as in step `index`: (1, channels, frames, height, width)."""
        return self.latents(recipe, after)

    def latents_of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (n, 3, frames, height, width) in [-1, 1] to latents as `expected` has them."""
        raise NotImplementedError(f"{type(self).__name__} makes no previews")

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Chunks of frames in order: (1, 3, n, height, width) in [-1, 1]. One decode at a time."""

    @abstractmethod
    def decode_tiled(self, latents: torch.Tensor, tiling: VaeTiling) -> Iterator[torch.Tensor]:
        """The same in less memory: other pixels near the seams, and empty chunks (n = 0) while tiles are decoded.

        Raises `ValueError` for tiles that this VAE cannot decode.
        """
