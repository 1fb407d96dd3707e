"""Stage by stage in separate processes equals one in-process diffusers call, bit for bit; so does a resumed run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from gpu_runner.bundle import Bundle
from gpu_runner.decode import decode_frames, to_uint8
from gpu_runner.denoise import Denoise, SolverState
from gpu_runner.families.wan import Wan
from gpu_runner.schedulers import SCHEDULERS, build_scheduler
from schemas.bundle import read_bundles
from schemas.events import PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import Recipe

FOLDER = Path("bundles/tiny")
PROMPT = "a yellow circle moving up on a purple background"

ONE_STAGE = """
import sys, pathlib, torch
from safetensors.torch import load_file, save_file
from gpu_runner.bundle import Bundle
from gpu_runner.denoise import Denoise
from gpu_runner.families.wan import Wan
from schemas.recipe import Recipe
stage, recipe, source, target = sys.argv[1:]
torch.set_num_threads(1)
recipe = Recipe.read(recipe.encode())
wan = Wan(Bundle.open(pathlib.Path("bundles/tiny")), torch.device("cpu"))
if stage == "encode":
    wan.load_encoder()
    save_file(wan.encode(recipe), target)
if stage == "denoise":
    wan.load_denoiser()
    run = Denoise(wan, recipe, load_file(source))
    while not run.done:
        run.step()
    save_file({"latents": run.latents}, target)
if stage == "decode":
    wan.load_decoder()
    save_file({"video": torch.cat(list(wan.decode(load_file(source)["latents"])), 2)}, target)
"""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def recipe(scheduler: str, steps: int = 4) -> Recipe:
    asked = PromptSubmitted(prompt=PROMPT, scheduler=scheduler, num_inference_steps=steps, seed=11)
    return recipe_of(asked, "video_test", read_bundles([FOLDER]), "tiny")


def pipeline_video(asked: Recipe, output_type: str = "pt") -> np.ndarray:
    pipeline = WanPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = build_scheduler(asked)
    return pipeline(
        prompt=asked.prompt, negative_prompt=asked.negative_prompt, height=asked.height, width=asked.width,
        num_frames=asked.num_frames, num_inference_steps=asked.num_inference_steps,
        guidance_scale=asked.guidance_scale, max_sequence_length=asked.max_sequence_length,
        generator=torch.Generator("cpu").manual_seed(asked.seed), output_type=output_type,
    ).frames[0]  # fmt: skip


def loaded(*loaders: Callable[[Wan], None]) -> Wan:
    wan = Wan(Bundle.open(FOLDER), torch.device("cpu"))
    for load in loaders:
        load(wan)
    return wan


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_three_processes_equal_one_pipeline_call(scheduler: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    asked = recipe(scheduler)
    source = "none"
    for stage in ("encode", "denoise", "decode"):
        target = str(tmp_path / f"{stage}.safetensors")
        argv = [sys.executable, "-c", ONE_STAGE, stage, asked.to_bytes().decode(), source, target]
        subprocess.run(argv, check=True, capture_output=True)
        source = target
    video = load_file(source)["video"]
    whole = pipeline_video(asked)
    ours = (video[0].permute(1, 0, 2, 3) * 0.5 + 0.5).clamp(0, 1)
    assert torch.equal(ours, torch.as_tensor(whole))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_resumed_run_is_bit_equal(scheduler: str, cut: int) -> None:
    asked = recipe(scheduler, steps=6)
    embeds = loaded(Wan.load_encoder).encode(asked)
    whole = Denoise(loaded(Wan.load_denoiser), asked, embeds)
    saved = b""
    while not whole.done:
        whole.step()
        if whole.index == cut:
            saved = whole.state().to_bytes()
    resumed = Denoise(loaded(Wan.load_denoiser), asked, embeds)
    resumed.restore(SolverState.from_bytes(saved))
    assert resumed.index == cut
    while not resumed.done:
        resumed.step()
    assert torch.equal(whole.latents, resumed.latents)


def test_streamed_decode_equals_whole_decode_and_rounds_as_the_pipeline_does() -> None:
    asked = recipe("flow-match-euler")
    embeds = loaded(Wan.load_encoder).encode(asked)
    run = Denoise(loaded(Wan.load_denoiser), asked, embeds)
    while not run.done:
        run.step()
    wan = loaded(Wan.load_decoder)
    streamed = np.concatenate(list(decode_frames(wan, run.latents)))
    images = pipeline_video(asked, "pil")
    assert np.array_equal(streamed, np.stack([np.asarray(image) for image in images]))


def test_rounding_is_to_nearest() -> None:
    values = torch.linspace(-1, 1, 511).view(1, 1, 1, 1, 511).expand(1, 3, 1, 1, 511)
    wanted = np.round((values[0, 0, 0, 0].numpy() * 0.5 + 0.5) * 255).astype(np.uint8)
    assert np.array_equal(to_uint8(values)[0, 0, :, 0].numpy(), wanted)
