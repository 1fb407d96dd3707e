"""What the limits of a model accept, its stages compute: at every corner, for each kind of model. What lies just beyond
is refused at the door, and by the denoise stage for a description that knows no bounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from gpu_runner.bundle import Bundle
from gpu_runner.denoise import Denoise
from gpu_runner.families import family_of
from gpu_runner.families.base import Family
from schemas.bundle import LONGEST_SIDE, BundleManifest, Limits
from schemas.errors import InvalidJob
from schemas.events.prompts import PromptSubmitted
from schemas.limits import even_multiple, most_frames, recipe_of, valid_sides
from schemas.recipe import Recipe
from stages.execution.in_process import InProcessLine
from stages.media.h264 import probe
from tests.runner.models import SMALLEST, TINY

Corner = tuple[int, int, int]
"""Width, height, frames."""


@pytest.fixture(scope="module", params=SMALLEST)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SMALLEST[request.param](tmp_path_factory.mktemp("corners") / request.param)


def recipe(bundle: BundleManifest, corner: Corner, steps: int = 1) -> Recipe:
    width, height, frames = corner
    asked = PromptSubmitted(
        prompt="a red circle", size=f"{width}x{height}", num_frames=frames, num_inference_steps=steps, seed=1
    )
    return recipe_of(asked, "video_corner", {bundle.model: bundle}, bundle.model)


def corners(limits: Limits) -> Iterator[Corner]:
    """Each side as short and as long as it may be, one frame; and the most frames, of the smallest size."""
    widths, heights = valid_sides(limits)
    for width, height in itertools.product((widths[0], widths[-1]), (heights[0], heights[-1])):
        if width * height <= limits.max_pixels:
            yield width, height, 1
    yield longest(widths, limits.max_pixels // heights[0]), heights[0], 1
    yield widths[0], longest(heights, limits.max_pixels // widths[0]), 1
    yield widths[0], heights[0], most_frames(limits)


def longest(sides: range, within: int) -> int:
    return max(side for side in sides if side <= within)


def beyond(limits: Limits) -> Iterator[Corner]:
    """One multiple, or one frame step, further than the model's own bounds."""
    widths, heights = valid_sides(limits)
    yield widths[-1] + widths.step, heights[0], 1
    yield widths[0], heights[-1] + heights.step, 1
    yield widths[0], heights[0], most_frames(limits) + limits.frame_step


def test_every_corner_computes(folder: Path) -> None:
    line = InProcessLine.load(folder)
    for corner in dict.fromkeys(corners(line.bundle.limits)):
        asked = recipe(line.bundle, corner)
        for settings in (asked, asked.replace(vae_tiling=line.bundle.vae_tiling)):
            found = probe(line.run(settings, "video_corner")["video"])
            assert (found.width, found.height, found.frames) == corner


@pytest.mark.parametrize("steps", [1, 2, 3, 999, 1000])
def test_every_number_of_steps_has_a_schedule(folder: Path, steps: int) -> None:
    bundle = Bundle.open(folder).manifest
    family = denoiser(folder)
    for name in bundle.limits.schedulers:
        asked = recipe(bundle, smallest(bundle.limits), steps).replace(scheduler=name)
        assert len(family.scheduler(asked).timesteps) == steps


def smallest(limits: Limits) -> Corner:
    widths, heights = valid_sides(limits)
    return widths[0], heights[0], 1


def test_just_beyond_is_refused_by_name(folder: Path) -> None:
    bundle = Bundle.open(folder).manifest
    for corner in beyond(bundle.limits):
        with pytest.raises(InvalidJob) as refused:
            recipe(bundle, corner)
        assert refused.value.field == ("size" if corner[2] == 1 else "num_frames")
        assert refused.value.nearest is not None


@cache
def denoiser(folder: Path) -> Family:
    bundle = Bundle.open(folder)
    family = family_of(bundle.manifest.family)(bundle, torch.device("cpu"))
    family.load_denoiser()
    return family


def embeds(family: Family) -> dict[str, torch.Tensor]:
    config = family.denoisers[0].config
    width = config.get("text_dim") or config.text_embed_dim
    shape = (1, family.bundle.manifest.limits.max_sequence_length, width)
    return dict.fromkeys(("prompt_embeds", "negative_prompt_embeds"), torch.zeros(shape, dtype=family.bundle.dtype))


def unbounded(limits: Limits) -> Limits:
    """As an older release described the model."""
    return limits.replace(min_width=1, max_width=LONGEST_SIDE, min_height=1, max_height=LONGEST_SIDE)


def test_the_bounds_are_the_models_own_and_a_job_beyond_them_is_invalid(folder: Path) -> None:
    """Not one of them is tighter than what the transformer can compute, which itself says so in words of its own."""
    family = denoiser(folder)
    manifest = family.bundle.manifest
    older = manifest.replace(limits=unbounded(manifest.limits))
    for corner in itertools.islice(beyond(manifest.limits), 2):
        try:
            asked = recipe(older, corner)
        except InvalidJob:
            assert max(corner[:2]) + even_multiple(older.limits) > LONGEST_SIDE  # the line's bound, not the model's
            continue
        with pytest.raises(InvalidJob, match="must be"):
            Denoise(family, asked, embeds(family))
        carried = family.start(asked)
        with pytest.raises((RuntimeError, ValueError)):
            family.step(asked, family.scheduler(asked), 0, carried, embeds(family))


def test_released_wan_ends_where_its_rotary_positions_end() -> None:
    limits = Bundle.open(TINY).manifest.limits
    config = {"patch_size": (1, 2, 2), "rope_max_seq_len": 1024}
    family = family_of("wan")
    geometry = Bundle.open(TINY).manifest.geometry
    asked = unbounded(limits).replace(max_pixels=1280 * 720, max_frames=10_000)
    released = family.bounded(asked, geometry, config)
    assert (released.max_width, released.max_height, released.max_frames) == (LONGEST_SIDE, LONGEST_SIDE, 4093)
    small = family.bounded(asked, geometry, config | {"rope_max_seq_len": 64})
    assert (small.max_width, small.max_height, small.max_frames) == (1024, 1024, 253)
    assert small.replace(max_frames=limits.max_frames, max_pixels=limits.max_pixels) == limits
