"""Prompts that ask for the same pixels become one recipe with one digest."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import FeatureCache, Recipe, derived_seed
from schemas.stage_keys import picked
from tests.contract.examples import RECIPE
from tests.unit.strategies import another, bundle_of, fields, texts

BUNDLES = {"tiny": bundle_of()}


def normal(job: str = "video_1", **asked: Any) -> Recipe:
    return recipe_of(PromptSubmitted(**asked), job, BUNDLES, "tiny")


def asked_again(recipe: Recipe) -> dict[str, Any]:
    """The prompt that spells out everything a recipe says."""
    same = ("model", "prompt", "negative_prompt", "seed", "num_frames", "fps", "num_inference_steps", "scheduler")
    settings = picked(recipe.to_dict(), (*same, "guidance_scale", "cache"))
    return settings | {"size": f"{recipe.width}x{recipe.height}"}


@given(asked=fields())
def test_normalising_twice_changes_nothing(asked: dict[str, Any]) -> None:
    recipe = normal(**asked)
    again = normal("video_2", **asked_again(recipe))
    assert again == recipe
    assert again.digest == recipe.digest


@given(asked=fields())
def test_a_recipe_survives_the_wire(asked: dict[str, Any]) -> None:
    recipe = normal(**asked)
    assert Recipe.read(recipe.to_bytes()) == recipe
    assert Recipe.read(recipe.to_bytes()).digest == recipe.digest


@given(text=texts, form=st.sampled_from(("NFC", "NFD")), space=st.sampled_from((" ", "\n", "\t\r\n ", "\u3000")))
def test_spelling_of_accents_and_spaces_is_one(text: str, form: Any, space: str) -> None:
    respelled = space + space.join(unicodedata.normalize(form, text).split()) + space
    cleaned = normal(prompt=text).prompt
    assert normal(prompt=respelled).prompt == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), (0, -0.0), ("3.0", 3)])
def test_equal_numbers_have_one_digest(one: Any, other: Any) -> None:
    assert normal(prompt="x", guidance_scale=one).digest == normal(prompt="x", guidance_scale=other).digest


def test_what_is_unset_is_filled_from_the_bundle() -> None:
    defaults = BUNDLES["tiny"].defaults
    assert defaults.model_dump().items() <= normal(prompt="x").model_dump().items()


def test_an_absent_seed_is_the_jobs_own() -> None:
    assert normal("video_1", prompt="x").seed == derived_seed("video_1")
    assert normal("video_1", prompt="x").seed != normal("video_2", prompt="x").seed
    assert normal("video_1", prompt="x", seed=0).seed == 0


@pytest.mark.parametrize("name", Recipe.model_fields)
def test_every_field_changes_the_digest(name: str) -> None:
    other = another(name, getattr(RECIPE, name))
    assert RECIPE.model_copy(update={name: other}).digest != RECIPE.digest


@pytest.mark.parametrize("changes", [{"kind": "other"}, {"threshold": 0.1}, {"cache_reset_every": 3}])
def test_every_setting_of_a_cache_changes_the_digest(changes: dict[str, Any]) -> None:
    cached = RECIPE.model_copy(update={"cache": FeatureCache()})
    other = RECIPE.model_copy(update={"cache": FeatureCache(**changes)})
    assert other.digest != cached.digest


def test_digest_and_derived_seed_are_the_same_in_every_release() -> None:
    """Videos in the store are found by the first; a replayed prompt must get the second again."""
    assert RECIPE.digest == "f7f8d0a66dad7b1a8f0d76754694c934524994908fb043499c6d2604b1868307"
    assert derived_seed("video_1") == 2649464374
