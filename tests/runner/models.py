"""Bundles to compute with: the tiny model, and others with random weights, made when a test asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    WanPipeline,
)
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from gpu_runner import describe, feature_cache
from gpu_runner.families import cogvideox
from gpu_runner.schedulers import flow_match_scheduler
from schemas.bundle import read_bundles
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import FeatureCache, Recipe
from tiny_model.captions import split
from tiny_model.model import build_tokenizer, build_transformer

TINY = Path("bundles/tiny")
PROMPT = "a yellow circle moving up on a purple background"


@dataclass(frozen=True)
class Case:
    """A model, a scheduler, and the pipeline that says what is right."""

    name: str
    bundle: Callable[[Path], Path]
    scheduler: str
    pipeline: Callable[[Path, Recipe], Any]
    steps: int = 5
    cache: FeatureCache | None = None

    def recipe(self, bundle: Path) -> Recipe:
        asked = PromptSubmitted(
            prompt=PROMPT, negative_prompt="black", scheduler=self.scheduler, num_inference_steps=self.steps, seed=11,
            cache=self.cache,
        )  # fmt: skip
        bundles = read_bundles([bundle])
        return recipe_of(asked, "video_test", bundles, next(iter(bundles)))

    def frames(self, bundle: Path) -> torch.Tensor:
        """(frames, 3, height, width) in [0, 1]: one call of the pipeline, in this process."""
        asked = self.recipe(bundle)
        pipeline = self.pipeline(bundle, asked)
        pipeline.set_progress_bar_config(disable=True)
        models = [model for model in (pipeline.transformer, getattr(pipeline, "transformer_2", None)) if model]
        feature_cache.use(models, asked.cache)

        def step_ended(_: Any, index: int, __: Any, carried: dict[str, Any]) -> dict[str, Any]:
            if asked.cache and (index + 1) % asked.cache.cache_reset_every == 0:
                feature_cache.empty(models)
            return carried

        video: torch.Tensor = pipeline(
            prompt=asked.prompt, negative_prompt=asked.negative_prompt, height=asked.height, width=asked.width,
            num_frames=asked.num_frames, num_inference_steps=asked.num_inference_steps,
            guidance_scale=asked.guidance_scale, max_sequence_length=asked.max_sequence_length,
            generator=torch.Generator("cpu").manual_seed(asked.seed), output_type="pt",
            callback_on_step_end=step_ended,
        ).frames[0]  # fmt: skip
        return video


def described(folder: Path, *options: str) -> Path:
    """The folder, with `latentline.json` written by the command that people use."""
    small = {"max-sequence-length": 16, "width": 64, "height": 64, "num-frames": 17, "fps": 8, "max-pixels": 65536}
    asked = [f"--{name}={value}" for name, value in small.items()]
    with patch.object(sys, "argv", ["describe", str(folder), "--model", folder.name, *asked, *options]):
        assert describe.main() == 0
    return folder


def tiny(folder: Path) -> Path:
    return TINY


def two_experts(folder: Path) -> Path:
    """Wan 2.2: one transformer for high noise and one for low; everything but the VAE in bf16, as released."""
    second = build_transformer()
    for parameter in second.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    pipeline = WanPipeline.from_pretrained(TINY, transformer_2=second, boundary_ratio=0.875)
    pipeline.save_pretrained(folder)
    return described(folder, "--dtype", "bfloat16")


def wan_pipeline(bundle: Path, asked: Recipe) -> Any:
    dtype = torch.float32 if bundle == TINY else {"default": torch.bfloat16, "vae": torch.float32}
    pipeline = WanPipeline.from_pretrained(bundle, dtype=dtype)
    pipeline.scheduler = flow_match_scheduler(asked)
    return pipeline


def cogvideox_of(scheduler: type, **transformer: Any) -> Callable[[Path], Path]:
    """A bundle with random weights and the released models' scheduler settings."""

    def build(folder: Path) -> Path:
        torch.manual_seed(0)
        pipeline = CogVideoXPipeline(
            tokenizer=cog_tokenizer(),
            text_encoder=T5EncoderModel(
                T5Config(vocab_size=32, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, dropout_rate=0.0)
            ),
            vae=AutoencoderKLCogVideoX(
                block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
                temporal_compression_ratio=4,
            ),
            transformer=CogVideoXTransformer3DModel(
                num_attention_heads=2, attention_head_dim=32, in_channels=4, out_channels=4, time_embed_dim=8,
                text_embed_dim=32, num_layers=2, sample_width=8, sample_height=8, sample_frames=17,
                max_text_seq_length=16, **transformer,
            ),
            scheduler=scheduler(
                prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True,
                set_alpha_to_one=True, snr_shift_scale=1.0, clip_sample=False,
            ),
        )  # fmt: skip
        pipeline.save_pretrained(folder)
        return described(folder, "--family", "cogvideox", "--dtype", "float32")

    return build


def cog_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(split().seen)


def cogvideox_pipeline(bundle: Path, asked: Recipe) -> Any:
    return CogVideoXPipeline.from_pretrained(bundle, dtype=torch.float32)


OFTEN = FeatureCache(threshold=0.4, cache_reset_every=3)
ROTARY = {"use_rotary_positional_embeddings": True}
LEARNED = ROTARY | {"use_learned_positional_embeddings": True}
SMALLEST: dict[str, Callable[[Path], Path]] = {
    "wan": tiny,
    "wan-two-experts": two_experts,
    "cogvideox": cogvideox_of(CogVideoXDPMScheduler),
    "cogvideox-rotary": cogvideox_of(CogVideoXDDIMScheduler, **ROTARY),
    "cogvideox-learned": cogvideox_of(CogVideoXDDIMScheduler, **LEARNED),
    "cogvideox-1.5": cogvideox_of(CogVideoXDPMScheduler, patch_size_t=2, **ROTARY),
}
"""The smallest model of each kind of positions that a family knows."""
CASES = (
    Case("wan-unipc", tiny, "unipc", wan_pipeline),
    Case("wan-flow-match-euler", tiny, "flow-match-euler", wan_pipeline),
    Case("wan-two-experts-bf16", two_experts, "unipc", wan_pipeline),
    Case("cogvideox-dpm", cogvideox_of(CogVideoXDPMScheduler), cogvideox.DPM, cogvideox_pipeline),
    Case("cogvideox-ddim-rotary", cogvideox_of(CogVideoXDDIMScheduler, **ROTARY), cogvideox.DDIM, cogvideox_pipeline),
    Case(
        "cogvideox-1.5-dpm", cogvideox_of(CogVideoXDPMScheduler, patch_size_t=2, **ROTARY), cogvideox.DPM,
        cogvideox_pipeline,
    ),
    Case("wan-unipc-cached", tiny, "unipc", wan_pipeline, steps=10, cache=OFTEN),
    Case("wan-two-experts-bf16-cached", two_experts, "unipc", wan_pipeline, steps=10, cache=OFTEN),
    Case(
        "cogvideox-dpm-cached", cogvideox_of(CogVideoXDPMScheduler), cogvideox.DPM, cogvideox_pipeline, steps=10,
        cache=OFTEN,
    ),
)  # fmt: skip
