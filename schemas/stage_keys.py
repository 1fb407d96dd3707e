"""Ids and keys: job ids, and for each stage the digest of exactly what determines its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.bundle import BundleManifest
from schemas.digest import digest
from schemas.events.prompts import PromptSubmitted
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage

# Raised when the code of a stage changes what it computes from the same recipe and bundle.
CODE_VERSION = {Stage.ENCODE: 1, Stage.DENOISE: 1, Stage.DECODE: 1, Stage.MUX: 2}

ENCODE_FIELDS = ("prompt", "negative_prompt", "max_sequence_length")
DENOISE_FIELDS = (
    "seed", "width", "height", "num_frames", "num_inference_steps", "guidance_scale", "scheduler", "flow_shift",
    "cache",
)  # fmt: skip
DECODE_FIELDS = ("fps", "encoding", "vae_tiling")


def job_id(tenant: str, idempotency_key: str) -> str:
    """`video_` and a digest: submitting the same key again names the same job."""
    return "video_" + digest([tenant, idempotency_key])[:32]


class Identity(NamedTuple):
    """Which job a prompt event asks for. `earlier` is what releases before this one called it, where they differ."""

    job: str
    earlier: str | None = None


def identity_of(prompt: PromptSubmitted, source: str | None, id: str) -> Identity:
    """Its `idempotency_key` names the job; without one source and id of its event do, as CloudEvents has it.

    `source` None: nobody vouches for it, so the id counts alone, as it did for every event before.
    """
    if prompt.idempotency_key is not None:
        return Identity(job_id(prompt.tenant, prompt.idempotency_key))
    earlier = job_id(prompt.tenant, id)
    if source is None:
        return Identity(earlier)
    return Identity("video_" + digest([prompt.tenant, source, id])[:32], earlier)


def stage_keys(recipe: Recipe, bundle: BundleManifest, job: str, runs: Mapping[Stage, int] = {}) -> dict[Stage, str]:
    """The key of every stage. Each key covers its own fields and, through the key before, all earlier ones.

    `mux` belongs to its job, since the file carries job metadata. `runs`: a stage with a run number, and all after it,
    have keys that no other run has.
    """
    settings = recipe.to_dict()
    determined_by: dict[Stage, list[object]] = {
        Stage.ENCODE: [bundle.components.encode, bundle.dtype, picked(settings, ENCODE_FIELDS)],
        Stage.DENOISE: [
            bundle.components.denoise,
            bundle.dtype,
            bundle.geometry.to_dict(),
            picked(settings, DENOISE_FIELDS),
        ],
        Stage.DECODE: [bundle.components.decode, bundle.vae_dtype, picked(settings, DECODE_FIELDS)],
        Stage.MUX: [job, recipe.digest],
    }
    keys: dict[Stage, str] = {}
    before = ""
    for stage in STAGES:
        run = [runs[stage]] if stage in runs else []
        before = keys[stage] = digest([stage, CODE_VERSION[stage], before, determined_by[stage], *run])
    return keys


def picked(settings: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Those of the fields that are set."""
    return {field: settings[field] for field in fields if field in settings}
