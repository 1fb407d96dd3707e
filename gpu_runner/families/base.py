"""What differs between model families, behind one small interface. Each method needs only its own component."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch

from gpu_runner.bundle import Bundle
from schemas.recipe import Recipe

Tensors = dict[str, torch.Tensor]


class Family(ABC):
    """Stateless apart from the components loaded; `bundle` gives geometry, since a stage has no VAE to ask."""

    components: ClassVar[dict[str, tuple[str, ...]]]
    """Folders that each stage loads, by stage name; they determine the stage's component digest."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle, self.device = bundle, device

    @abstractmethod
    def load_encoder(self) -> None: ...

    @abstractmethod
    def load_denoiser(self) -> None: ...

    @abstractmethod
    def load_decoder(self) -> None: ...

    @abstractmethod
    def encode(self, recipe: Recipe) -> Tensors:
        """Conditioning of prompt and negative prompt. Raises `InvalidJob` when the prompt has too many tokens."""

    @abstractmethod
    def scheduler(self, recipe: Recipe) -> Any:
        """A fresh scheduler with its timesteps set."""

    @abstractmethod
    def noise(self, recipe: Recipe) -> torch.Tensor:
        """The initial latents, drawn on the CPU from the recipe's seed."""

    @abstractmethod
    def predict(
        self, recipe: Recipe, scheduler: Any, index: int, latents: torch.Tensor, embeds: Tensors
    ) -> torch.Tensor:
        """The model's output at step `index`, guidance applied."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Chunks of frames in order: (1, 3, n, height, width) in [-1, 1]. One decode at a time."""
