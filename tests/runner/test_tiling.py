"""Decode in tiles: the pixels of diffusers' own tiled decode, other ones than a whole decode gives, in less memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

from gpu_runner.bundle import Bundle
from gpu_runner.decode import Frames, decode_frames
from gpu_runner.device import memory_errors
from gpu_runner.families.base import Family
from gpu_runner.families.cogvideox import CogVideoX
from gpu_runner.families.wan import Wan
from gpu_runner.tiling import Axis
from schemas.bundle import read_bundles
from schemas.errors import Cancelled, ResourceExhausted
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.recipe import Recipe, VaeTiling
from schemas.stage import Stage
from stages.contract import Output
from stages.decode import Decode
from stages.denoise import DenoiseStage
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.in_process import Undisturbed
from stages.media.h264 import probe
from stages.tensors import to_blob

TINY = Path("bundles/tiny")
CPU = torch.device("cpu")
TILING = VaeTiling(
    tile_sample_min_height=32, tile_sample_min_width=48, tile_sample_stride_height=24, tile_sample_stride_width=32
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def shipped_wan() -> Family:
    """Its VAE decodes to patches of two by two pixels, as that of Wan 2.2 5B does."""
    family = Wan(Bundle.open(TINY), CPU)
    family.load_decoder()
    return family


def plain_wan() -> Family:
    torch.manual_seed(0)
    family = Wan(Bundle.open(TINY), CPU)
    family.vae = AutoencoderKLWan(
        base_dim=8, z_dim=8, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1] * 8, latents_std=[2.0] * 8,
    ).eval()  # fmt: skip
    return family


def cogvideox() -> Family:
    torch.manual_seed(0)
    family = CogVideoX(Bundle.open(TINY), CPU)
    family.vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=8, layers_per_block=1, norm_num_groups=2,
    ).eval()  # fmt: skip
    return family


def options(family: Family) -> dict[str, Any]:
    """The tiles in the words of the family's VAE."""
    if isinstance(family, Wan):
        return TILING.model_dump()
    return {
        "tile_sample_min_height": 32, "tile_sample_min_width": 48, "tile_overlap_factor_height": 1 / 4,
        "tile_overlap_factor_width": 1 / 3,
    }  # fmt: skip


def latents(family: Family, frames: int) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(3)
    shape = (1, 8, frames, 10, 12) if isinstance(family, Wan) else (1, frames, 8, 10, 12)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("made", [shipped_wan, plain_wan, cogvideox])
def test_tiles_are_decoded_and_blended_as_diffusers_does_it(made: Callable[[], Family], frames: int) -> None:
    family = made()
    asked = latents(family, frames)
    chunks = list(family.decode_tiled(asked, TILING))
    ours = torch.cat([chunk for chunk in chunks if chunk.shape[2]], dim=2)
    vae: Any = family.vae  # type: ignore[attr-defined]
    vae.enable_tiling(**options(family))
    raw = family._denormalised(asked) if isinstance(family, Wan) else family._scaled(asked)  # type: ignore[attr-defined]
    with torch.no_grad():
        theirs = vae.decode(raw, return_dict=False)[0]
    assert torch.equal(ours, theirs)
    whole = torch.cat(list(family.decode(asked)), dim=2)
    assert whole.shape == ours.shape
    assert not torch.equal(whole, ours)
    signs = [chunk for chunk in chunks if not chunk.shape[2]]
    assert len(signs) == 4 * 3 * len(list(family.decode(asked))), "one a chunk of each of 4 x 3 tiles"


@pytest.mark.parametrize(("side", "stride"), [(30, 24), (32, 20), (24, 32), (32, 0)])
def test_tiles_that_the_vae_cannot_decode_are_refused(side: int, stride: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8, without gaps"):
        Axis.of(side, stride, 8, 1)


# -- the stage ---------------------------------------------------------------------------------------------------


def recipe(tiling: VaeTiling | None = None) -> Recipe:
    asked = PromptSubmitted(prompt="a", size="96x80", num_frames=9, num_inference_steps=4)
    return recipe_of(asked, "video_test", read_bundles([TINY]), "tiny").model_copy(update={"vae_tiling": tiling})


def task(stage: Stage, tiling: VaeTiling | None = None) -> Task:
    return Task(
        incarnation="i", lease=1, job="video_test", tenant="t", stage=stage, key="k", recipe=recipe(tiling), attempt=1
    )


class Small:
    """The real decoder or transformer, on a device with room for `most` values of input at once."""

    def __init__(self, module: torch.nn.Module, most: int) -> None:
        self.module, self.most, self.calls = module, most, 0
        self.forward, module.forward = module.forward, self.limited

    def limited(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        given: torch.Tensor = named["hidden_states"] if "hidden_states" in named else arguments[0]
        if given.numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.forward(*arguments, **named)


LATENTS = torch.randn(1, 8, 3, 10, 12, generator=torch.Generator().manual_seed(1))


def run(stage: Decode, tiling: VaeTiling | None, context: Undisturbed | None = None) -> Output:
    inputs = {"latents": to_blob("latents", {"latents": LATENTS}).data}
    return stage.run(task(Stage.DECODE, tiling), inputs, context or Undisturbed())


def frames(family: Family, tiling: VaeTiling | None) -> Frames:
    return np.concatenate([chunk for chunk in decode_frames(family, LATENTS, tiling) if len(chunk)])


def test_a_decode_that_does_not_fit_says_so_and_fits_in_tiles() -> None:
    family = Wan(Bundle.open(TINY), CPU)
    stage = Decode(family)
    whole, tiled = frames(family, None), frames(family, TILING)
    assert whole.shape == tiled.shape == (9, 80, 96, 3)
    assert not np.array_equal(whole, tiled)
    Small(family.vae.decoder, most=8 * 4 * 6)
    with pytest.raises(ResourceExhausted, match=r"2\.00 GiB"):
        run(stage, None)
    assert probe(run(stage, TILING).objects[0].data).frames == 9
    assert np.array_equal(frames(family, TILING), tiled)


def test_it_stops_between_two_tiles() -> None:
    class Stopped(Undisturbed):
        asked = 0

        def raise_if_interrupted(self) -> None:
            self.asked += 1
            if self.asked > 2:
                raise Cancelled("enough")

    family = Wan(Bundle.open(TINY), CPU)
    stage, context = Decode(family), Stopped()
    watch = Small(family.vae.decoder, most=10**9)
    with pytest.raises(Cancelled):
        run(stage, TILING, context)
    assert watch.calls == 3


def test_a_denoise_that_does_not_fit_says_so() -> None:
    family = Wan(Bundle.open(TINY), CPU)
    stage = DenoiseStage(family, IntervalRule())
    Small(family.transformer, most=100)
    embeds = {name: torch.zeros(1, 16, 64) for name in ("prompt_embeds", "negative_prompt_embeds")}
    with pytest.raises(ResourceExhausted, match=r"2\.00 GiB"):
        stage.run(task(Stage.DENOISE), {"embeds": to_blob("embeds", embeds).data}, Undisturbed())


@contextmanager
def raised(error: Exception) -> Iterator[None]:
    with memory_errors():
        yield
        raise error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)  # fmt: skip
def test_a_lack_of_memory_is_known_by_any_of_its_names(error: Exception) -> None:
    with pytest.raises(ResourceExhausted), raised(error):
        pass


def test_another_error_is_let_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), raised(RuntimeError("shapes do not match")):
        pass
