"""Previews: what they show, what they cost, and that a denoise does not know of them."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gpu_runner.bundle import Bundle
from gpu_runner.denoise import Denoise
from gpu_runner.families import cogvideox
from gpu_runner.families.cogvideox import CogVideoX
from gpu_runner.families.wan import Wan
from gpu_runner.latent_rgb import picture_of
from schemas.bundle import LatentColours
from schemas.errors import StoreUnavailable
from schemas.events.tasks import Task
from stages.contract import StageRunner
from stages.execution.in_process import Undisturbed
from stages.media import preview
from stages.media.preview import PreviewWriter
from tests.runner.models import CASES, TINY
from tests.runner.test_stages import STEPS, denoise, inputs, task, whole
from tests.support import eventually

__all__ = ["denoise", "inputs", "task", "whole"]

RED, BLUE = (200, 30, 30), (30, 50, 210)


@pytest.fixture(scope="module")
def colours() -> LatentColours:
    found = Bundle.open(TINY).manifest.latent_colours
    assert found is not None
    return found


class Shown(Undisturbed):
    """Whom previews reach; `slow` holds them up, `away` refuses them."""

    def __init__(self, slow: Event | None = None, away: bool = False) -> None:
        self.pictures: dict[int, bytes] = {}
        self.slow, self.away, self.tries = slow, away, 0

    def preview(self, step: int, picture: bytes) -> None:
        self.tries += 1
        if self.away:
            raise StoreUnavailable("away")
        if self.slow is not None:
            self.slow.wait()
        self.pictures[step] = picture


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("colour", [RED, BLUE])
def test_the_colours_of_a_picture_survive_the_latents(colour: tuple[int, int, int], colours: LatentColours) -> None:
    wan = Wan(Bundle.open(TINY), torch.device("cpu"))
    wan.load_decoder()
    pixels = torch.tensor(colour).view(1, 3, 1, 1, 1).expand(1, 3, 5, 64, 64) / 127.5 - 1
    shown = picture_of(wan.latents_of(pixels), colours)
    assert shown.shape == (2, 8, 8, 3)
    assert np.abs(shown[:, 2:-2, 2:-2].mean((0, 1, 2)) - colour).max() < 50


@pytest.mark.parametrize("name", ["cogvideox-ddim-rotary", "cogvideox-1.5-dpm"])
def test_cogvideox_shows_what_its_scheduler_predicts_without_padding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in CASES if case.name == name)
    folder = case.bundle(tmp_path / name)
    family = CogVideoX(Bundle.open(folder), torch.device("cpu"))
    for load in (family.load_encoder, family.load_denoiser, family.load_decoder):
        load()
    recipe, predicted = case.recipe(folder), list[torch.Tensor]()
    kind = cogvideox.SCHEDULERS[recipe.scheduler]
    own_step = kind.step

    def step(scheduler: Any, *arguments: Any, return_dict: bool, **more: Any) -> tuple[torch.Tensor, ...]:
        result = own_step(scheduler, *arguments, **more)
        predicted.append(result[1])
        return result[0], result[1]

    monkeypatch.setattr(kind, "step", step)
    run = Denoise(family, recipe, family.encode(recipe))
    while not run.done:
        run.step()
        assert torch.allclose(run.expected(), predicted[-1][:, -5:].transpose(1, 2), atol=1e-3)
    assert torch.allclose(run.expected(), run.latents.transpose(1, 2), atol=1e-3)
    clip = torch.zeros(1, 3, recipe.num_frames, recipe.height, recipe.width)
    assert family.latents_of(clip).shape == run.expected().shape
    assert run.expected().shape == (1, 4, 5, 8, 8)


def test_a_denoise_shows_what_it_is_becoming_and_ends_in_the_same_bits(
    denoise: StageRunner, task: Task, inputs: dict[str, bytes], whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "LEAST_S", 0.0)
    monkeypatch.setattr(preview, "LARGEST_SHARE", 1.0)
    context = Shown()
    assert denoise.run(task, inputs, context).objects[0].data == whole
    assert 1 <= min(context.pictures) <= max(context.pictures) < STEPS
    picture = Image.open(io.BytesIO(context.pictures[max(context.pictures)]))
    assert (picture.format, picture.size, getattr(picture, "n_frames", 1)) == ("WEBP", (8, 8), 5)


def test_what_a_preview_has_cost_decides_when_the_next_is_due(colours: LatentColours) -> None:
    clock, context = Clock(), Shown()
    writer = PreviewWriter(context, colours, 0.5, clock)
    assert not writer.is_due()
    clock.now = 1.0
    assert writer.is_due()

    def copied() -> torch.Tensor:
        clock.now += 0.2
        return torch.zeros(1, 8, 2, 8, 8)

    writer.show(3, copied)
    eventually(lambda: writer.cost > 0)
    assert list(context.pictures) == [3]
    clock.now = 1.2 + 19.9
    assert not writer.is_due()
    clock.now = 1.2 + 100 * writer.cost + 0.01
    eventually(writer.is_due)
    writer.close()


def test_a_slow_store_means_fewer_previews_and_holds_up_nothing(colours: LatentColours) -> None:
    clock, slow = Clock(), Event()
    writer = PreviewWriter(context := Shown(slow), colours, 0.5, clock)
    writer.show(1, lambda: torch.zeros(1, 8, 2, 8, 8))
    clock.now = 1000.0
    assert not writer.is_due()
    writer.close()
    assert context.pictures == {}
    slow.set()


def test_a_store_that_is_away_costs_the_preview_alone(colours: LatentColours) -> None:
    clock = Clock()
    writer = PreviewWriter(context := Shown(away=True), colours, 0.5, clock)
    writer.show(1, lambda: torch.zeros(1, 8, 2, 8, 8))
    eventually(lambda: writer.cost > 0)
    assert context.tries == 1
    clock.now = 9.9
    assert not writer.is_due()
    clock.now = 60.0
    eventually(writer.is_due)
    writer.close()


def test_latents_that_cannot_be_had_end_the_previews_and_not_the_denoise(colours: LatentColours) -> None:
    def broken() -> torch.Tensor:
        raise RuntimeError("no memory for a copy")

    clock = Clock()
    writer = PreviewWriter(Undisturbed(), colours, 0.5, clock)
    writer.show(1, broken)
    clock.now = 1000.0
    assert not writer.is_due()
    writer.close()


def test_a_model_without_colours_has_no_previews() -> None:
    clock = Clock()
    writer = PreviewWriter(Undisturbed(), None, 0.5, clock)
    clock.now = 1000.0
    assert not writer.is_due()
    writer.close()
