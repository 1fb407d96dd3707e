"""CogVideoX text-to-video, step for step as `diffusers.CogVideoXPipeline` does it (pinned by an equality test).

Its DPM solver draws fresh noise every step and looks back at the last predicted sample, which diffusers keeps in a
local variable of the pipeline: a run carries both between steps, so a checkpoint holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXTransformer3DModel,
)
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from diffusers.utils.torch_utils import randn_tensor
from transformers import AutoTokenizer, T5EncoderModel

from gpu_runner.families.base import Config, Family, Tensors
from gpu_runner.no_grad import no_grad
from gpu_runner.tiling import Grid, decode_tiled
from schemas.bundle import Defaults, Geometry, Limits
from schemas.errors import InvalidJob
from schemas.recipe import Recipe, VaeTiling

DPM, DDIM = "cogvideox-dpm", "cogvideox-ddim"
SCHEDULERS = {DPM: CogVideoXDPMScheduler, DDIM: CogVideoXDDIMScheduler}
LATENT_FRAMES_A_CHUNK = 2
"""`AutoencoderKLCogVideoX` decodes two latent frames at a time; the first chunk takes the odd one too."""

SAMPLE = {
    "sample_width": 90, "sample_height": 60, "max_text_seq_length": 226, "patch_size_t": None,
    "use_rotary_positional_embeddings": False, "use_learned_positional_embeddings": False,
}  # fmt: skip
"""What `CogVideoXTransformer3DModel` takes where its config does not say."""


class CogVideoX(Family):
    components = {
        "encode": ("tokenizer", "text_encoder"),
        "denoise": ("transformer", "scheduler"),
        "decode": ("vae",),
    }
    schedulers = tuple(SCHEDULERS)
    defaults = Defaults(
        width=720, height=480, num_frames=49, fps=8, num_inference_steps=50, guidance_scale=6.0,
        negative_prompt="", scheduler=DPM, flow_shift=1.0,
    )  # fmt: skip
    max_sequence_length = 226
    vae_tiling = VaeTiling(
        tile_sample_min_height=240, tile_sample_min_width=360, tile_sample_stride_height=200,
        tile_sample_stride_width=288,
    )  # fmt: skip

    @classmethod
    def geometry(cls, vae: Config) -> Geometry:
        return Geometry(
            latent_channels=vae["latent_channels"],
            vae_scale_factor_spatial=2 ** (len(vae["block_out_channels"]) - 1),
            vae_scale_factor_temporal=vae["temporal_compression_ratio"],
        )

    @classmethod
    def multiples(cls, geometry: Geometry, transformer: Config) -> tuple[int, int]:
        """An even number of latent frames would decode to more frames than were asked for: 8k + 1, not 4k + 1."""
        size = geometry.vae_scale_factor_spatial * transformer["patch_size"]
        return size, LATENT_FRAMES_A_CHUNK * geometry.vae_scale_factor_temporal

    @classmethod
    def bounded(cls, limits: Limits, geometry: Geometry, transformer: Config) -> Limits:
        """Learned positions are those of one size. Rotary ones are a table of the sample's rows and columns in the 1.5
        models, and else, like sines, made for any size. Positions that are added to the input hold a row for every
        token of a text, so that no other length fits."""
        config = SAMPLE | dict(transformer)
        width, height = (config[f"sample_{side}"] * geometry.vae_scale_factor_spatial for side in ("width", "height"))
        learned = config["use_learned_positional_embeddings"]
        if learned or config["patch_size_t"] is not None:
            most = {"max_width": min(limits.max_width, width), "max_height": min(limits.max_height, height)}
            limits = limits.replace(**most)
        if learned:
            limits = limits.replace(min_width=width, min_height=height)
        if learned or not config["use_rotary_positional_embeddings"]:
            limits = limits.replace(max_sequence_length=config["max_text_seq_length"])
        return limits

    def load_encoder(self) -> None:
        self.tokenizer: Any = self.bundle.load(AutoTokenizer, "tokenizer")
        self.text_encoder: Any = self.bundle.load(T5EncoderModel, "text_encoder", self.bundle.dtype).to(self.device)
        self.text_encoder.eval()

    def load_denoiser(self) -> None:
        transformer = self.bundle.load(CogVideoXTransformer3DModel, "transformer", self.bundle.dtype)
        self.transformer: Any = transformer.to(self.device).eval()
        self.scheduler_config: Any = self.bundle.load(CogVideoXDDIMScheduler, "scheduler").config

    @property
    def denoisers(self) -> tuple[Any, ...]:
        return (self.transformer,)

    def load_decoder(self) -> None:
        vae = self.bundle.load(AutoencoderKLCogVideoX, "vae", self.bundle.vae_dtype)
        self.vae: Any = vae.to(self.device).eval()

    def encode(self, recipe: Recipe) -> Tensors:
        return {
            "prompt_embeds": self._embeds("prompt", recipe.prompt, recipe.max_sequence_length),
            "negative_prompt_embeds": self._embeds(
                "negative_prompt", recipe.negative_prompt, recipe.max_sequence_length
            ),
        }

    @no_grad
    def _embeds(self, field: str, text: str, length: int) -> torch.Tensor:
        """Shape (1, length, width); padding is encoded and attended to, as the pipeline does."""
        ids = self.tokenizer(text, add_special_tokens=True).input_ids
        if len(ids) > length:
            limit = f"has {len(ids)} tokens with the end token, at most {length}"
            raise InvalidJob(field, text, limit)
        padded = self.tokenizer(
            [text], padding="max_length", max_length=length, truncation=True, add_special_tokens=True,
            return_tensors="pt",
        )  # fmt: skip
        embeds: torch.Tensor = self.text_encoder(padded.input_ids.to(self.device))[0]
        return embeds

    def scheduler(self, recipe: Recipe) -> Any:
        """Raises `ValueError` for a name that is not among the above."""
        if recipe.scheduler not in SCHEDULERS:
            raise ValueError(f"no scheduler {recipe.scheduler!r}; there are: {', '.join(SCHEDULERS)}")
        scheduler = SCHEDULERS[recipe.scheduler].from_config(self.scheduler_config)
        scheduler.set_timesteps(recipe.num_inference_steps, device=self.device)
        return scheduler

    def start(self, recipe: Recipe) -> Tensors:
        geometry = self.bundle.manifest.geometry
        shape = (
            1,
            self._latent_frames(recipe) + self._padding(recipe),
            geometry.latent_channels,
            recipe.height // geometry.vae_scale_factor_spatial,
            recipe.width // geometry.vae_scale_factor_spatial,
        )
        generator = torch.Generator("cpu").manual_seed(recipe.seed)
        latents = randn_tensor(shape, generator=generator, device=self.device, dtype=self.bundle.dtype)
        return {"latents": latents} | ({"generator": generator.get_state()} if recipe.scheduler == DPM else {})

    def _latent_frames(self, recipe: Recipe) -> int:
        return (recipe.num_frames - 1) // self.bundle.manifest.geometry.vae_scale_factor_temporal + 1

    def _padding(self, recipe: Recipe) -> int:
        """Latent frames that CogVideoX 1.5, which patches along time too, puts before the video."""
        patch = self.transformer.config.patch_size_t
        return 0 if patch is None else -self._latent_frames(recipe) % patch

    @no_grad
    def step(self, recipe: Recipe, scheduler: Any, index: int, carried: Tensors, embeds: Tensors) -> Tensors:
        latents, moment = carried["latents"], scheduler.timesteps[index]
        output = self._predict(recipe, scheduler, index, latents, embeds)
        if recipe.scheduler == DDIM:
            latents = scheduler.step(output, moment, latents, return_dict=False)[0]
            return {"latents": latents.to(self.bundle.dtype)}
        generator = torch.Generator("cpu")
        generator.set_state(carried["generator"].cpu())
        before = scheduler.timesteps[index - 1] if index > 0 else None
        latents, predicted = scheduler.step(
            output, carried.get("predicted"), moment, before, latents, generator=generator, return_dict=False
        )
        return {
            "latents": latents.to(self.bundle.dtype),
            "predicted": predicted,
            "generator": generator.get_state(),
        }

    def _predict(
        self, recipe: Recipe, scheduler: Any, index: int, latents: torch.Tensor, embeds: Tensors
    ) -> torch.Tensor:
        """The model's output at step `index`, guidance applied: both halves in one batch of two."""
        guided = recipe.guidance_scale > 1.0
        names = ("negative_prompt_embeds", "prompt_embeds") if guided else ("prompt_embeds",)
        conditioning = torch.cat([embeds[name].to(self.device) for name in names])
        moment = scheduler.timesteps[index]
        model_input = scheduler.scale_model_input(torch.cat([latents] * len(names)), moment)
        with self.transformer.cache_context("cond_uncond"):
            output: torch.Tensor = self.transformer(
                hidden_states=model_input,
                encoder_hidden_states=conditioning,
                timestep=moment.expand(len(names)),
                image_rotary_emb=self._rotary(recipe, latents.shape[1]),
                return_dict=False,
            )[0].float()
        if not guided:
            return output
        unconditional, conditional = output.chunk(2)
        return unconditional + recipe.guidance_scale * (conditional - unconditional)

    def _rotary(self, recipe: Recipe, latent_frames: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Rotary positions of the 5B and 1.5 models; the 2B model has none."""
        config = self.transformer.config
        if not config.use_rotary_positional_embeddings:
            return None
        pixels = self.bundle.manifest.geometry.vae_scale_factor_spatial * config.patch_size
        grid = (recipe.height // pixels, recipe.width // pixels)
        base = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        if config.patch_size_t is None:
            crops = get_resize_crop_region_for_grid(grid, base[1], base[0])
            layout = {"crops_coords": crops, "temporal_size": latent_frames}
        else:
            size = -(-latent_frames // config.patch_size_t)
            layout = {"crops_coords": None, "temporal_size": size, "grid_type": "slice", "max_size": base}
        embedding: tuple[torch.Tensor, torch.Tensor] = get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim, grid_size=grid, device=self.device, **layout
        )
        return embedding

    def latents(self, recipe: Recipe, carried: Tensors) -> torch.Tensor:
        return carried["latents"][:, self._padding(recipe) :]

    def expected(self, recipe: Recipe, scheduler: Any, index: int, before: Tensors, after: Tensors) -> torch.Tensor:
        """What the solver predicts where it keeps that (DPM). A step of DDIM mixes it with what was before: a part of
        `kept` of the latents before, and a part of `new` of the finished ones."""
        if (predicted := after.get("predicted")) is None:
            share, next_share = shares_of_sample(scheduler, index)
            kept = ((1 - next_share) / (1 - share)) ** 0.5
            new = next_share**0.5 - share**0.5 * kept
            predicted = (after["latents"].float() - kept * before["latents"].float()) / new
        return self.latents(recipe, {"latents": predicted}).transpose(1, 2)

    @no_grad
    def latents_of(self, pixels: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mean
        return self.vae.config.scaling_factor * latents.cpu().float()

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        return self._chunks(self._scaled(latents))

    def decode_tiled(self, latents: torch.Tensor, tiling: VaeTiling) -> Iterator[torch.Tensor]:
        grid = Grid.of(tiling, self.bundle.manifest.geometry.vae_scale_factor_spatial)
        return decode_tiled(self._scaled(latents), grid, self._chunks)

    @no_grad
    def _scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Channels before frames, as the VAE takes them."""
        frames = latents.to(self.device, self.vae.dtype).permute(0, 2, 1, 3, 4)
        return 1 / self.vae.config.scaling_factor * frames

    @no_grad
    def _chunks(self, frames: torch.Tensor) -> Iterator[torch.Tensor]:
        cache = None
        for start, end in chunks(frames.shape[2]):
            part = frames[:, :, start:end]
            if self.vae.post_quant_conv is not None:
                part = self.vae.post_quant_conv(part)
            decoded, cache = self.vae.decoder(part, conv_cache=cache)
            yield decoded


def shares_of_sample(scheduler: Any, index: int) -> tuple[float, float]:
    """How much of the latents' variance is the finished sample's, before step `index` and after it."""
    moment = int(scheduler.timesteps[index])
    later = moment - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    share = float(scheduler.alphas_cumprod[moment])
    return share, float(scheduler.alphas_cumprod[later] if later >= 0 else scheduler.final_alpha_cumprod)


def chunks(latent_frames: int) -> list[tuple[int, int]]:
    """Bounds of what the VAE decodes at once; the first chunk takes the remainder."""
    first = min(latent_frames, LATENT_FRAMES_A_CHUNK + latent_frames % LATENT_FRAMES_A_CHUNK)
    ends = list(range(first, latent_frames + 1, LATENT_FRAMES_A_CHUNK))
    return list(zip([0, *ends], ends, strict=False))
