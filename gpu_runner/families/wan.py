"""Wan 2.1 and 2.2 text-to-video, step for step as `diffusers.WanPipeline` does it (pinned by an equality test)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from diffusers.utils.torch_utils import randn_tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from gpu_runner.families.base import Config, Family, Tensors
from gpu_runner.no_grad import no_grad
from gpu_runner.schedulers import FLOW_MATCH_SCHEDULERS, flow_match_scheduler
from gpu_runner.tiling import Grid, decode_tiled
from schemas.bundle import LONGEST_SIDE, Defaults, Geometry, Limits
from schemas.errors import InvalidJob
from schemas.recipe import Recipe, VaeTiling

ROTARY_POSITIONS = 1024
"""What `WanTransformer3DModel` has where its config does not say."""


class Wan(Family):
    components = {
        "encode": ("tokenizer", "text_encoder"),
        "denoise": ("transformer", "transformer_2", "scheduler"),
        "decode": ("vae",),
    }
    schedulers = FLOW_MATCH_SCHEDULERS
    defaults = Defaults(
        width=832, height=480, num_frames=81, fps=16, num_inference_steps=50, guidance_scale=5.0,
        negative_prompt="", scheduler="unipc", flow_shift=3.0,
    )  # fmt: skip
    max_sequence_length = 512
    vae_tiling = VaeTiling(
        tile_sample_min_height=256, tile_sample_min_width=256, tile_sample_stride_height=192,
        tile_sample_stride_width=192,
    )  # fmt: skip

    @classmethod
    def geometry(cls, vae: Config) -> Geometry:
        return Geometry(
            latent_channels=vae["z_dim"],
            vae_scale_factor_spatial=vae["scale_factor_spatial"],
            vae_scale_factor_temporal=vae["scale_factor_temporal"],
        )

    @classmethod
    def multiples(cls, geometry: Geometry, transformer: Config) -> tuple[int, int]:
        frames, height, width = transformer["patch_size"]
        if frames != 1:
            raise ValueError(f"the transformer takes {frames} latent frames at a time, which is not supported")
        return geometry.vae_scale_factor_spatial * math.lcm(height, width), geometry.vae_scale_factor_temporal

    @classmethod
    def bounded(cls, limits: Limits, geometry: Geometry, transformer: Config) -> Limits:
        """Rotary positions are a table of `rope_max_seq_len` rows for each of frames, rows and columns of patches."""
        positions = transformer.get("rope_max_seq_len", ROTARY_POSITIONS)
        _, height, width = (geometry.vae_scale_factor_spatial * patch for patch in transformer["patch_size"])
        frames = (positions - 1) * geometry.vae_scale_factor_temporal + 1
        return limits.replace(
            max_width=min(limits.max_width, positions * width, LONGEST_SIDE),
            max_height=min(limits.max_height, positions * height, LONGEST_SIDE),
            max_frames=min(limits.max_frames, frames),
        )

    def load_encoder(self) -> None:
        self.tokenizer: Any = self.bundle.load(AutoTokenizer, "tokenizer")
        self.text_encoder: Any = self.bundle.load(UMT5EncoderModel, "text_encoder", self.bundle.dtype).to(self.device)
        self.text_encoder.eval()

    def load_denoiser(self) -> None:
        """Raises `ValueError` for a checkpoint with a timestep a latent frame (Wan 2.2 TI2V), which `step` has not."""
        if self.bundle.index.get("expand_timesteps"):
            raise ValueError(f"{self.bundle.manifest.model} expands timesteps (Wan 2.2 TI2V), which is not supported")
        self.boundary_ratio: float | None = self.bundle.index.get("boundary_ratio")
        self.transformer: Any = self._transformer("transformer")
        self.low_noise: Any = None if self.boundary_ratio is None else self._transformer("transformer_2")

    def _transformer(self, component: str) -> Any:
        return self.bundle.load(WanTransformer3DModel, component, self.bundle.dtype).to(self.device).eval()

    @property
    def denoisers(self) -> tuple[Any, ...]:
        return (self.transformer,) if self.low_noise is None else (self.transformer, self.low_noise)

    def load_decoder(self) -> None:
        self.vae: Any = self.bundle.load(AutoencoderKLWan, "vae", self.bundle.vae_dtype).to(self.device).eval()

    def encode(self, recipe: Recipe) -> Tensors:
        return {
            "prompt_embeds": self._embeds("prompt", recipe.prompt, recipe.max_sequence_length),
            "negative_prompt_embeds": self._embeds(
                "negative_prompt", recipe.negative_prompt, recipe.max_sequence_length
            ),
        }

    @no_grad
    def _embeds(self, field: str, text: str, length: int) -> torch.Tensor:
        """Shape (1, length, width); rows past the text are zero, as the pipeline makes them."""
        cleaned = prompt_clean(text)
        tokens = len(self.tokenizer(cleaned, add_special_tokens=True).input_ids)
        if tokens > length:
            limit = f"has {tokens} tokens with the end token, at most {length}"
            raise InvalidJob(field, text, limit)
        inputs = self.tokenizer(
            [cleaned], padding="max_length", max_length=length, truncation=True, add_special_tokens=True,
            return_attention_mask=True, return_tensors="pt",
        )  # fmt: skip
        ids, mask = inputs.input_ids.to(self.device), inputs.attention_mask.to(self.device)
        hidden = self.text_encoder(ids, mask).last_hidden_state
        used = int(mask.gt(0).sum())
        return torch.cat([hidden[:, :used], hidden.new_zeros(1, length - used, hidden.shape[2])], dim=1)

    def scheduler(self, recipe: Recipe) -> Any:
        scheduler = flow_match_scheduler(recipe)
        scheduler.set_timesteps(recipe.num_inference_steps, device=self.device)
        scheduler.set_begin_index(0)
        return scheduler

    def start(self, recipe: Recipe) -> Tensors:
        geometry = self.bundle.manifest.geometry
        shape = (
            1,
            geometry.latent_channels,
            (recipe.num_frames - 1) // geometry.vae_scale_factor_temporal + 1,
            recipe.height // geometry.vae_scale_factor_spatial,
            recipe.width // geometry.vae_scale_factor_spatial,
        )
        generator = torch.Generator("cpu").manual_seed(recipe.seed)
        return {"latents": randn_tensor(shape, generator=generator, device=self.device, dtype=torch.float32)}

    @no_grad
    def step(self, recipe: Recipe, scheduler: Any, index: int, carried: Tensors, embeds: Tensors) -> Tensors:
        latents = carried["latents"]
        output = self._predict(recipe, scheduler, index, latents, embeds)
        return {"latents": scheduler.step(output, scheduler.timesteps[index], latents, return_dict=False)[0]}

    def _predict(
        self, recipe: Recipe, scheduler: Any, index: int, latents: torch.Tensor, embeds: Tensors
    ) -> torch.Tensor:
        """The model's output at step `index`, guidance applied."""
        moment = scheduler.timesteps[index]
        model = self._expert(moment, scheduler)
        context = {
            "step_index": index,
            "sigma": float(scheduler.sigmas[index]),
            "num_inference_steps": len(scheduler.timesteps),
        }
        names = {"cond": "prompt_embeds"}
        if recipe.guidance_scale > 1.0:
            names["uncond"] = "negative_prompt_embeds"
        outputs = {}
        for name, conditioning in names.items():
            with model.cache_context(name, **context):
                outputs[name] = model(
                    hidden_states=latents.to(model.dtype),
                    timestep=moment.expand(latents.shape[0]),
                    encoder_hidden_states=embeds[conditioning].to(self.device, model.dtype),
                    return_dict=False,
                )[0]
        if "uncond" not in outputs:
            return outputs["cond"]
        return outputs["uncond"] + recipe.guidance_scale * (outputs["cond"] - outputs["uncond"])

    def _expert(self, moment: torch.Tensor, scheduler: Any) -> Any:
        """Wan 2.2 has one transformer above a noise level and another below it."""
        if self.boundary_ratio is None or moment >= self.boundary_ratio * scheduler.config.num_train_timesteps:
            return self.transformer
        return self.low_noise

    def expected(self, recipe: Recipe, scheduler: Any, index: int, before: Tensors, after: Tensors) -> torch.Tensor:
        """Latents at noise level s are (1 - s) of the video and s of the noise: two levels give both."""
        level, next_level = float(scheduler.sigmas[index]), float(scheduler.sigmas[index + 1])
        return (level * after["latents"] - next_level * before["latents"]) / (level - next_level)

    @no_grad
    def latents_of(self, pixels: torch.Tensor) -> torch.Tensor:
        config, vae = self.vae.config, self.vae
        shape = (1, config.z_dim, 1, 1, 1)
        mean, std = (torch.tensor(values).view(shape) for values in (config.latents_mean, config.latents_std))
        latents: torch.Tensor = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist.mean.cpu().float()
        return (latents - mean) / std

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        return map(self._pixels, self._chunks(self._features(self._denormalised(latents)).split(1, dim=2)))

    def decode_tiled(self, latents: torch.Tensor, tiling: VaeTiling) -> Iterator[torch.Tensor]:
        """Tiles are blended before patches become pixels, as in diffusers."""
        config = self.vae.config
        grid = Grid.of(tiling, config.scale_factor_spatial, config.patch_size or 1)
        return map(self._pixels, decode_tiled(self._denormalised(latents), grid, self._chunks_of_tile))

    def _chunks_of_tile(self, tile: torch.Tensor) -> Iterator[torch.Tensor]:
        """A frame at a time from the start; a whole decode takes all at once. Their sums are rounded differently."""
        return self._chunks(map(self._features, tile.split(1, dim=2)))

    @no_grad
    def _features(self, latents: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.vae.post_quant_conv(latents)
        return features

    @no_grad
    def _denormalised(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.vae.config
        latents = latents.to(self.device, self.vae.dtype)
        mean = torch.tensor(config.latents_mean).view(1, config.z_dim, 1, 1, 1).to(latents.device, latents.dtype)
        std = 1.0 / torch.tensor(config.latents_std).view(1, config.z_dim, 1, 1, 1).to(latents.device, latents.dtype)
        return latents / std + mean

    @no_grad
    def _chunks(self, features: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """What the decoder gives for one latent frame after another: pixels, or patches of them."""
        self.vae.clear_cache()
        try:
            for index, frame in enumerate(features):
                self.vae._conv_idx = [0]
                first = {"first_chunk": True} if index == 0 else {}
                yield self.vae.decoder(
                    frame, feat_cache=self.vae._feat_map, feat_idx=self.vae._conv_idx, **first,
                )  # fmt: skip
        finally:
            self.vae.clear_cache()

    @no_grad
    def _pixels(self, chunk: torch.Tensor) -> torch.Tensor:
        patch = self.vae.config.patch_size
        return torch.clamp(chunk if patch is None else unpatchify(chunk, patch_size=patch), min=-1.0, max=1.0)
