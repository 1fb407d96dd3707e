"""How far a denoise is, what it gave, and what it would have given undisturbed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gpu_runner.bundle import Bundle
from gpu_runner.decode import decode_frames
from gpu_runner.denoise import Denoise
from gpu_runner.device import configure
from gpu_runner.families.wan import Wan
from schemas.events.completions import JobCompleted
from schemas.events.progress import StepProgress
from schemas.job import JobState
from schemas.recipe import Recipe
from schemas.stage import Stage
from stages.decode import encode_chunks
from stages.execution.in_process import Undisturbed
from stages.media.h264 import decode
from stages.storage.artifacts import ArtifactStore
from stages.tensors import from_bytes
from tests.e2e.conftest import Line
from tests.processes import Tail
from tiny_model.data import Pixels

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "tiny"


def completed(line: Line, job: str) -> JobCompleted:
    end = line.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    return end


def denoised(progress: Tail, job: str) -> list[int]:
    """The denoise steps of a job that were told so far."""
    events = (event for event in progress.events() if isinstance(event, StepProgress))
    return [event.step for event in events if event.job == job and event.stage is Stage.DENOISE]


def latents_of(store: ArtifactStore, state: JobState) -> torch.Tensor:
    """What the denoise of a job gave to decode."""
    ref = state.stages[Stage.DENOISE].artifact
    assert ref is not None
    return from_bytes(store.read(store.read_manifest(ref).find("latents"), ref))["latents"]


def undisturbed_latents(recipe: Recipe) -> torch.Tensor:
    """The same recipe denoised in one go, in this process, with as many threads as a worker has."""
    family = Wan(Bundle.open(BUNDLE), configure("cpu", threads=1))
    family.load_encoder()
    family.load_denoiser()
    run = Denoise(family, recipe, family.encode(recipe))
    while not run.done:
        run.step()
    return run.latents


def undisturbed_frames(recipe: Recipe, latents: torch.Tensor) -> Pixels:
    """What they become in this process."""
    family = Wan(Bundle.open(BUNDLE), configure("cpu", threads=1))
    family.load_decoder()
    track, *_ = encode_chunks(decode_frames(family, latents), recipe, Undisturbed())
    return np.stack(list(decode(track)))
