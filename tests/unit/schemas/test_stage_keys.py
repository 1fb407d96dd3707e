"""A stage's key changes with what determines its output, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.prompts import PromptSubmitted
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage
from schemas.stage_keys import identity_of, job_id, stage_keys
from tests.contract.examples import RECIPE
from tests.unit.strategies import another, bundle_of

BUNDLE = bundle_of()
KEYS = stage_keys(RECIPE, BUNDLE, "video_1")

FIRST_STAGE = {
    "prompt": Stage.ENCODE, "negative_prompt": Stage.ENCODE, "max_sequence_length": Stage.ENCODE,
    "seed": Stage.DENOISE, "width": Stage.DENOISE, "height": Stage.DENOISE, "num_frames": Stage.DENOISE,
    "num_inference_steps": Stage.DENOISE, "guidance_scale": Stage.DENOISE, "scheduler": Stage.DENOISE,
    "flow_shift": Stage.DENOISE, "cache": Stage.DENOISE,
    "fps": Stage.DECODE, "encoding": Stage.DECODE, "vae_tiling": Stage.DECODE,
    "model": Stage.MUX, "revision": Stage.MUX,
}  # fmt: skip
"""Field of the recipe to the first stage whose output it determines. A model's files are in its bundle's digests."""


def changed(keys: dict[Stage, str]) -> list[Stage]:
    return [stage for stage in STAGES if keys[stage] != KEYS[stage]]


def from_on(stage: Stage) -> list[Stage]:
    return list(STAGES[STAGES.index(stage) :])


def test_every_field_of_the_recipe_belongs_to_a_stage() -> None:
    assert set(FIRST_STAGE) == set(Recipe.model_fields)


@pytest.mark.parametrize(("name", "first"), FIRST_STAGE.items())
def test_a_field_changes_its_stage_and_those_after_it(name: str, first: Stage) -> None:
    other = another(name, getattr(RECIPE, name))
    assert changed(stage_keys(RECIPE.model_copy(update={name: other}), BUNDLE, "video_1")) == from_on(first)


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_number_changes_its_stage_and_those_after_it(stage: Stage) -> None:
    first, second = (stage_keys(RECIPE, BUNDLE, "video_1", {stage: run}) for run in (1, 2))
    assert changed(first) == changed(second) == from_on(stage)
    assert first[stage] != second[stage]


def test_keys_are_the_same_in_every_release() -> None:
    """Outputs in the store are found by them."""
    assert [key[:8] for key in KEYS.values()] == ["2e7f3730", "5bde2225", "1627c438", "c00bb1bb"]


NUMBERS = [name for name in FIRST_STAGE if isinstance(getattr(RECIPE, name), int) and name != "max_sequence_length"]


@given(values=st.fixed_dictionaries({}, optional={name: st.integers(1, 2**31) for name in NUMBERS}))
def test_one_conditioning_serves_every_video_of_a_prompt(values: dict[str, Any]) -> None:
    keys = stage_keys(RECIPE.model_copy(update=values), BUNDLE, "video_1")
    assert keys[Stage.ENCODE] == KEYS[Stage.ENCODE]
    differ = {FIRST_STAGE[name] for name, value in values.items() if value != getattr(RECIPE, name)}
    assert changed(keys) == (from_on(min(differ, key=STAGES.index)) if differ else [])


@pytest.mark.parametrize("stage", [Stage.ENCODE, Stage.DENOISE, Stage.DECODE])
def test_other_files_of_a_component_change_its_stage(stage: Stage) -> None:
    components = BUNDLE.components.model_copy(update={stage.value: "other"})
    bundle = BUNDLE.model_copy(update={"components": components})
    assert changed(stage_keys(RECIPE, bundle, "video_1")) == from_on(stage)


@pytest.mark.parametrize(
    ("name", "value", "first"),
    [("dtype", "bfloat16", Stage.ENCODE), ("vae_dtype", "bfloat16", Stage.DECODE), ("revision", "other", None)],
)
def test_the_bundles_number_formats_count_and_its_name_does_not(name: str, value: str, first: Stage | None) -> None:
    keys = stage_keys(RECIPE, BUNDLE.model_copy(update={name: value}), "video_1")
    assert changed(keys) == (from_on(first) if first else [])


@given(job=st.text(min_size=1).filter(lambda job: job != "video_1"))
def test_only_the_file_belongs_to_its_job(job: str) -> None:
    assert changed(stage_keys(RECIPE, BUNDLE, job)) == [Stage.MUX]


@given(one=st.tuples(st.text(), st.text()), other=st.tuples(st.text(), st.text()))
def test_a_job_is_named_by_tenant_and_idempotency_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (job_id(*one) == job_id(*other)) == (one == other)


@given(one=st.tuples(st.text(), st.text()), other=st.tuples(st.text(), st.text()), key=st.text(min_size=1, max_size=9))
def test_a_prompt_without_a_key_is_named_by_source_and_id(
    one: tuple[str, str], other: tuple[str, str], key: str
) -> None:
    plain, keyed = PromptSubmitted(prompt="p"), PromptSubmitted(prompt="p", idempotency_key=key)
    assert (identity_of(plain, *one) == identity_of(plain, *other)) == (one == other)
    assert identity_of(keyed, *one) == identity_of(keyed, *other) == (job_id("default", key), None)
    assert identity_of(plain, *one).earlier == job_id("default", one[1])
    assert identity_of(plain, None, one[1]) == (job_id("default", one[1]), None)


def test_stage_keys_are_the_same_in_every_release() -> None:
    """What is in the store is found by them; a field that came later counts where it is set."""
    assert KEYS[Stage.DENOISE] == "5bde22255bda2c26c8967bb5bcdac226f8729b7862e1f43ec21bd71685a9b468"
    assert KEYS[Stage.DECODE] == "1627c4381cf11e0fa1caa9bf5c1cb2e39ed0c42c8ed94c0982f36a4751da01dd"


def test_job_ids_are_the_same_in_every_release() -> None:
    """A prompt that is replayed after an upgrade is still the same job."""
    assert job_id("acme", "order-17") == "video_adb7279fbc9ec166357ff7b8d34aaf37"
    plain = PromptSubmitted(prompt="p", tenant="acme")
    assert identity_of(plain, "orders", "17").job == "video_5e4f4606457f7132bdef8ed2bdb5ec55"
