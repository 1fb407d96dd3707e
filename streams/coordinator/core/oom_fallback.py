"""A stage that ran out of memory: another worker first, then a variant of the recipe that needs less.

Decode alone has such a variant: tiles. They change pixels, so keys and completion say what was served.
"""

from __future__ import annotations

from schemas.errors import ErrorKind, ErrorReport, OtherRevision, ResourceExhausted, UnreadableTask
from schemas.job import JobState
from schemas.recipe import Recipe, VaeTiling
from schemas.stage import Stage
from schemas.stage_keys import stage_keys
from streams.coordinator.core import retry, transitions
from streams.coordinator.core.policy import Policy

WHOLE_TRIES = 2
"""A decode runs as it was asked for on two workers, where there are two, before it runs in tiles."""


def is_out_of_memory(error: ErrorReport | None) -> bool:
    """Known to be that. A child that was killed may have been killed for anything: it changes no recipe."""
    return error is not None and error.code == ResourceExhausted.code


def avoided(state: JobState, stage: Stage) -> frozenset[str]:
    """Workers that have too little memory for the stage, are too old for the task, or have other weights: others go
    before them."""
    record = state.stages[stage]
    if not record.failures and not record.setbacks:
        return frozenset()
    return frozenset(
        past.worker
        for past in state.attempts
        if past.stage is stage and past.error is not None
        and (past.error.kind is ErrorKind.RESOURCE or past.error.code in (UnreadableTask.code, OtherRevision.code))
    )  # fmt: skip


def smaller(policy: Policy, state: JobState, stage: Stage, error: ErrorReport) -> JobState | None:
    """The job with a recipe that needs less memory; None where it need not come to that yet, or cannot."""
    tiling = tiles_for(policy, state) if stage is Stage.DECODE and is_out_of_memory(error) else None
    if tiling is None or state.recipe is None or state.exact:
        return None
    tries = sum(past.stage is stage and is_out_of_memory(past.error) for past in state.attempts)
    if tries < WHOLE_TRIES and not retry.is_exhausted(state.stages[stage], error, policy.max_attempts):
        return None
    return with_variant(policy, state, stage, state.recipe.replace(vae_tiling=tiling))


def tiles_for(policy: Policy, state: JobState) -> VaeTiling | None:
    """The bundle's tiles, where the job is not tiled already and they would make its decode smaller."""
    recipe = state.recipe
    bundle = policy.bundles.get(recipe.model) if recipe else None
    if recipe is None or bundle is None or bundle.revision != recipe.revision or recipe.vae_tiling is not None:
        return None
    tiling = bundle.vae_tiling
    return tiling if tiling is not None and tiling.divides(recipe.width, recipe.height) else None


def with_variant(policy: Policy, state: JobState, first: Stage, recipe: Recipe) -> JobState | None:
    """From the stage `first` on it starts over, under other keys. What came before stays as it is.

    None where an earlier stage's output is made otherwise than when the job was accepted, by another release.
    """
    keys = stage_keys(recipe, policy.bundles[recipe.model], state.job, state.runs)
    changed = [stage for stage, key in keys.items() if state.stages[stage].key != key]
    if changed[:1] != [first]:
        return None
    state = state.replace(recipe=recipe, asked=state.asked or state.recipe)
    for stage in changed:
        state = transitions.change_stage(
            state, stage, key=keys[stage], failures=0, failures_by_kind={}, artifact=None, condemned_etag=None
        )
    return state


def explained(policy: Policy, state: JobState, stage: Stage, error: ErrorReport) -> ErrorReport:
    """The last error of a job, with what a person can do about it."""
    if not is_out_of_memory(error) or state.recipe is None:
        return error
    recipe = state.recipe
    advice = "ask for a smaller size or fewer frames, or give the stage a device with more memory"
    if stage is Stage.DECODE and state.exact and tiles_for(policy, state):
        advice = "decoding in tiles needs less and changes pixels: ask without `exact` to allow it"
    asked = f"{stage} of {recipe.num_frames} frames of {recipe.width}x{recipe.height} does not fit: {advice}"
    return error.replace(message=f"{asked}. {error.message}"[:2000])
