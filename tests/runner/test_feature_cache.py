"""A feature cache changes bits, belongs to its own run alone, and is never cut elsewhere than at a reset point."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gpu_runner.bundle import Bundle
from gpu_runner.denoise import Denoise
from gpu_runner.families.base import Family
from gpu_runner.families.wan import Wan
from schemas.bundle import read_bundles
from schemas.errors import Preempted
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.recipe import FeatureCache, Recipe
from schemas.stage import Stage
from stages.denoise import DenoiseStage
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.in_process import Undisturbed
from stages.tensors import from_bytes, to_blob
from tests.runner.test_stages import Kept, Watched

TINY = Path("bundles/tiny")
EVERY, STEPS = 4, 12


def asked(cache: FeatureCache | None) -> Recipe:
    prompt = PromptSubmitted(prompt="a red square", seed=8, num_inference_steps=STEPS, scheduler="unipc", cache=cache)
    return recipe_of(prompt, "video_test", read_bundles([TINY]), "tiny")


PLAIN, CACHED = asked(None), asked(FeatureCache(threshold=0.4, cache_reset_every=EVERY))


@pytest.fixture(scope="module")
def family() -> Family:
    """One warm process: the same transformer for every run."""
    torch.set_num_threads(1)
    family = Wan(Bundle.open(TINY), torch.device("cpu"))
    family.load_encoder()
    family.load_denoiser()
    return family


def latents(family: Family, recipe: Recipe) -> torch.Tensor:
    run = Denoise(family, recipe, family.encode(recipe))
    while not run.done:
        run.step()
    return run.latents


def test_a_cache_changes_bits_and_only_those_of_its_own_run(family: Family) -> None:
    plain, cached = latents(family, PLAIN), latents(family, CACHED)
    assert not torch.equal(plain, cached)
    assert torch.equal(latents(family, PLAIN), plain)
    assert torch.equal(latents(family, CACHED), cached)


def test_a_run_that_was_left_in_its_middle_leaves_nothing_behind(family: Family) -> None:
    cached = latents(family, CACHED)
    left = Denoise(family, CACHED, family.encode(CACHED))
    left.step()
    left.step()
    assert torch.equal(latents(family, CACHED), cached)


def test_the_reset_points_count(family: Family) -> None:
    other = asked(FeatureCache(threshold=0.4, cache_reset_every=EVERY + 1))
    assert not torch.equal(latents(family, other), latents(family, CACHED))


def test_a_checkpoint_beside_a_reset_point_is_refused(family: Family) -> None:
    run = Denoise(family, PLAIN, family.encode(PLAIN))
    run.step()
    with pytest.raises(ValueError, match="after step 1 is at no reset point"):
        Denoise(family, CACHED, family.encode(CACHED)).restore(run.state())


@pytest.mark.parametrize("stop", [EVERY, 2 * EVERY - 1, STEPS - 1])
def test_a_preempted_run_goes_on_from_its_last_reset_point(family: Family, stop: int) -> None:
    stage = DenoiseStage(family, IntervalRule.fixed(0.0))
    task = Task(
        incarnation="i", lease=1, job="video_test", tenant="t", stage=Stage.DENOISE, key="k", recipe=CACHED, attempt=1
    )
    inputs = {"embeds": to_blob("embeds", family.encode(CACHED)).data}
    whole = stage.run(task, inputs, Undisturbed()).objects[0].data
    kept = Kept()
    with pytest.raises(Preempted):
        stage.run(task, inputs, Watched(kept, stop, Preempted("drain")))
    assert {checkpoint.step % EVERY for checkpoint in kept.saved} == {0}
    resumed = stage.run(task, inputs, Watched(kept))
    assert resumed.resumed_from_step == stop // EVERY * EVERY
    assert torch.equal(from_bytes(resumed.objects[0].data)["latents"], from_bytes(whole)["latents"])
    assert not any(model.is_cache_enabled for model in family.denoisers)
