"""Train transformer and text encoder together by flow matching on encoded clips."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel
from transformers import PreTrainedTokenizerFast

from gpu_runner.no_grad import no_grad
from tiny_model.model import MAX_SEQUENCE_LENGTH, build_text_encoder, build_transformer
from tiny_model.optimisers import Optimisers, trapezoid
from tiny_model.settings import TrainingSettings
from tiny_model.train_vae import Latents


def shifted_noise_levels(batch: int, shift: float) -> torch.Tensor:
    """Noise levels in (0, 1), one a stratum of the batch, moved towards noise as the sampler's shift does."""
    uniform = (torch.arange(batch) + torch.rand(batch)) / batch
    return shift * uniform / (1 + (shift - 1) * uniform)


class TransformerTraining:
    """Model, moving average and optimisers of one run, at one step; everything a checkpoint holds."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, settings: TrainingSettings) -> None:
        torch.manual_seed(settings.seed)
        self.step = 0
        self._settings = settings
        self._tokenizer = tokenizer
        self._model = torch.nn.ModuleDict({"transformer": build_transformer(), "text_encoder": build_text_encoder()})
        self._average = AveragedModel(self._model, multi_avg_fn=self._average_parameters)
        self._optimisers = self._build_optimisers()
        self._denoise = torch.compile(self._model["transformer"])

    @property
    def averaged(self) -> torch.nn.ModuleDict:
        """The moving average so far: modules "transformer" and "text_encoder"."""
        module = self._average.module
        assert isinstance(module, torch.nn.ModuleDict)
        return module

    def run(self, latents: Latents) -> Iterator[float]:
        """Train to the last step; yields the velocity error (mean square) of each step."""
        tokens, mask = self._tokenise([caption.text for caption in latents.captions])
        empty_tokens, empty_mask = self._tokenise([""])
        settings = self._settings
        while self.step < settings.steps:
            # Each step owns its random stream, so a resumed run repeats the uninterrupted one.
            torch.manual_seed(settings.seed * 1_000_000 + self.step)
            chosen = torch.randperm(len(tokens))[: settings.batch]
            dropped = (torch.rand(settings.batch) < settings.caption_dropout)[:, None]
            loss = self._loss(
                latents.mean[chosen] + latents.std[chosen] * torch.randn_like(latents.mean[chosen]),
                torch.where(dropped, empty_tokens, tokens[chosen]),
                torch.where(dropped, empty_mask, mask[chosen]),
            )
            rate = trapezoid(self.step, settings.steps, settings.warm_up, settings.decay_from)
            self._optimisers.step(loss, rate)
            self._average.update_parameters(self._model)
            self.step += 1
            yield loss.item()

    def save(self, path: Path) -> None:
        state = {"step": self.step, "model": self._model.state_dict(), "average": self._average.state_dict()}
        partial = path.with_suffix(".partial")
        torch.save({**state, "optimisers": self._optimisers.state_dict()}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self._model.load_state_dict(state["model"])
        self._average.load_state_dict(state["average"])
        self._optimisers.load_state_dict(state["optimisers"])
        self.step = state["step"]

    def _loss(self, clean: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        noise = torch.randn_like(clean)
        level = shifted_noise_levels(len(clean), self._settings.flow_shift)
        mixing = level.view(-1, 1, 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16):
            # The pipeline zeroes the text past the mask and lets attention see the zeros: so does training.
            text = self._model["text_encoder"](tokens, mask).last_hidden_state * mask[..., None]
            velocity = self._denoise((1 - mixing) * clean + mixing * noise, 1000 * level, text, return_dict=False)[0]
        return F.mse_loss(velocity.float(), noise - clean)

    def _tokenise(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = self._tokenizer(
            texts, padding="max_length", max_length=MAX_SEQUENCE_LENGTH, truncation=True, return_tensors="pt"
        )
        return encoded["input_ids"], encoded["attention_mask"]

    def _build_optimisers(self) -> Optimisers:
        settings = self._settings
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in self._model["transformer"].named_parameters():
            inner = name.startswith("blocks.") or "text_embedder" in name
            # Only hidden linear layers: what touches latents or time keeps AdamW's per-value rates.
            (matrices if inner and parameter.ndim == 2 else others).append(parameter)
        text = list(self._model["text_encoder"].parameters())
        rates = [(others, settings.adam_rate), (text, settings.text_rate)]
        return Optimisers(matrices, settings.muon_rate, rates, settings.clip_norm)

    @no_grad
    def _average_parameters(self, averages: Any, current: Any, updates: Any) -> None:
        count = int(updates)
        decay = min(self._settings.ema_decay, (count + 1) / (count + 20))
        torch._foreach_lerp_(averages, current, 1 - decay)
