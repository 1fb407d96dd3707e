"""Whatever is asked for becomes a valid recipe, or an error whose nearest value is one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.bundle import Limits
from schemas.errors import ErrorKind, InvalidJob
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import FeatureCache, Recipe
from tests.unit.strategies import LIMITS, bundle_of, limits, texts

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-10, 300)
SIDES = st.integers(0, 3000) | st.integers(0, 10**9 - 1)
SECONDS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1, 30)


def recipe(bounds: Limits = LIMITS, **asked: Any) -> Recipe:
    return recipe_of(PromptSubmitted(**({"prompt": "x"} | asked)), "video_1", {"tiny": bundle_of(bounds)}, "tiny")


def refusal(bounds: Limits = LIMITS, **asked: Any) -> InvalidJob:
    with pytest.raises(InvalidJob) as caught:
        recipe(bounds, **asked)
    return caught.value


def accepted(bounds: Limits, field: str, **asked: Any) -> Recipe | None:
    """The recipe, or None if `field` was refused: then its nearest value must be accepted in its place."""
    try:
        return recipe(bounds, **asked)
    except InvalidJob as error:
        refused = error
    assert refused.field == field
    assert refused.report().kind is ErrorKind.INVALID_JOB
    if refused.nearest is not None:
        recipe(bounds, **(asked | {field: refused.nearest}))
    return None


@given(bounds=limits(), width=SIDES, height=SIDES)
def test_any_size_is_valid_or_has_a_valid_one_near(bounds: Limits, width: int, height: int) -> None:
    made = accepted(bounds, "size", size=f"{width}x{height}")
    if made is None:
        assert refusal(bounds, size=f"{width}x{height}").nearest is not None
        return
    assert (made.width, made.height) == (width, height)
    assert made.width % 2 == made.height % 2 == 0
    assert made.width % bounds.size_multiple == made.height % bounds.size_multiple == 0
    assert made.width * made.height <= bounds.max_pixels
    assert min(made.width, made.height) >= bounds.min_side
    assert bounds.min_width <= made.width <= bounds.max_width
    assert bounds.min_height <= made.height <= bounds.max_height


@pytest.mark.parametrize(
    ("bounds", "size", "limit", "nearest"),
    [
        ({"max_width": 1024, "max_height": 1024}, "2048x32", "width must be at most 1024 pixels", "1024x32"),
        ({"max_width": 1024, "max_height": 1024}, "32x2048", "height must be at most 1024 pixels", "32x1024"),
        ({"max_width": 1024, "max_height": 1024}, "1040x48", "width must be at most 1024 pixels", "1024x48"),
        ({"max_pixels": 1280 * 720}, "28800x32", "width must be at most 16368 pixels", "16368x32"),
        ({"min_width": 64, "max_width": 64}, "48x64", "width must be 64 pixels", "64x64"),
    ],
)
def test_a_side_beyond_the_models_own_bound_is_refused_by_name(
    bounds: dict[str, int], size: str, limit: str, nearest: str
) -> None:
    error = refusal(LIMITS.replace(**bounds), size=size)
    assert (error.field, error.limit, error.nearest) == ("size", limit, nearest)


@given(text=st.text(max_size=30) | st.from_regex(r"[0-9x×X \-]{1,12}"))
def test_a_size_that_is_none_is_refused_in_words(text: str) -> None:
    assume(text)
    accepted(LIMITS, "size", size=text)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [("65x64", "64x64"), ("1x1", "32x32"), ("1024x512", "368x176"), ("999999999x1", "2048x32"), ("64x0", "64x32")],
)
def test_the_nearest_size_keeps_the_shape_as_far_as_it_can(size: str, nearest: str) -> None:
    assert refusal(size=size).nearest == nearest


@pytest.mark.parametrize("size", ["64", "64x", "x64", "64x64x64", "-64x64", "64 x 64", "６４x64", "1" * 5000 + "x1"])
def test_no_size(size: str) -> None:
    error = refusal(size=size)
    assert "WIDTHxHEIGHT" in str(error)
    assert len(str(error)) < 200


def valid_counts(bounds: Limits) -> range:
    return range(1, bounds.max_frames + 1, bounds.frame_step)


@given(bounds=limits(), frames=INTEGERS)
def test_any_frame_count_is_valid_or_has_the_nearest(bounds: Limits, frames: int) -> None:
    made = accepted(bounds, "num_frames", num_frames=frames)
    if made is None:
        nearest = refusal(bounds, num_frames=frames).nearest
        assert isinstance(nearest, int)
        assert abs(nearest - frames) == min(abs(count - frames) for count in valid_counts(bounds))
    else:
        assert made.num_frames == frames in valid_counts(bounds)


@given(bounds=limits(), seconds=SECONDS, fps=st.integers(1, 240))
def test_seconds_become_the_nearest_valid_frame_count(bounds: Limits, seconds: float, fps: int) -> None:
    assume(fps <= bounds.max_fps)
    made = accepted(bounds, "seconds", seconds=seconds, fps=fps)
    counts = valid_counts(bounds)
    wanted = seconds * fps + 1
    if made is not None:
        best = min(abs(count - wanted) for count in counts)
        assert made.num_frames in counts
        assert abs(made.num_frames - wanted) == pytest.approx(best, abs=1e-6)
    else:
        assert seconds <= 0 or wanted > counts[-1]
        assert refusal(bounds, seconds=seconds, fps=fps).nearest is not None


def test_frames_win_over_seconds_and_unset_means_the_default() -> None:
    assert recipe(seconds=2.0, fps=8, num_frames=9).num_frames == 9
    assert recipe(seconds=2.0, fps=8).num_frames == 17
    assert recipe().num_frames == bundle_of().defaults.num_frames


@pytest.mark.parametrize("field", ["fps", "num_inference_steps", "seed"])
@given(value=INTEGERS)
def test_any_integer_is_in_range_or_has_the_nearest(field: str, value: int) -> None:
    made = accepted(LIMITS, field, **{field: value})
    assert made is None or getattr(made, field) == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_guidance_is_in_range_or_has_the_nearest(value: float) -> None:
    made = accepted(LIMITS, "guidance_scale", guidance_scale=value)
    assert (made is not None) == (0 <= value <= LIMITS.max_guidance_scale)


@pytest.mark.parametrize("field", ["seconds", "guidance_scale"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", float("nan"), float("inf"), 10**400])
def test_what_is_no_number_never_gets_as_far(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        recipe(**{field: value})


@pytest.mark.parametrize("field", ["num_frames", "fps", "num_inference_steps"])
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, str(2**70), 1e30, 2.5])
def test_integers_that_json_cannot_carry_never_get_as_far(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        recipe(**{field: value})


@pytest.mark.parametrize("seed", [0, 2**32, 2**53 + 1, 2**63, 2**64 - 1, "18446744073709551615"])
def test_a_seed_is_any_that_torch_takes(seed: Any) -> None:
    assert recipe(seed=seed).seed == int(seed)
    assert Recipe.read(recipe(seed=seed).to_bytes()).seed == int(seed)


def test_a_seed_of_minus_one_is_a_random_one_and_the_body_is_the_same() -> None:
    assert recipe(seed=-1) == recipe() == recipe(seed="-1")
    random = PromptSubmitted(prompt="x", seed=-1)
    assert random.body_digest == PromptSubmitted(prompt="x").body_digest
    assert refusal(seed=-2).nearest == 0


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, str(2**70), 1e30, 2.5])
def test_a_seed_that_json_cannot_carry_never_gets_as_far(seed: Any) -> None:
    with pytest.raises(ValidationError, match="seed"):
        recipe(seed=seed)


def test_width_and_height_are_a_size() -> None:
    assert recipe(width=64, height="48.0") == recipe(size="64x48") == recipe(size="64X48", width=64, height=48)
    assert refusal(width=64).field == "height"
    assert refusal(height=64).field == "width"
    assert refusal(size="32x32", width=64, height=48).nearest == "64x48"
    assert refusal(width=63, height=64).nearest == "64x64"


@given(before=texts, after=texts, control=st.characters(categories=["Cc"], exclude_characters="\t\n\r"))
def test_control_characters_are_refused_by_name(before: str, after: str, control: str) -> None:
    assert f"U+{ord(control):04X} at {len(before)}" in str(refusal(prompt=before + control + after))
    assert refusal(negative_prompt=control).field == "negative_prompt"


@pytest.mark.parametrize("prompt", ["🔴 → 👩‍🚀", "красный круг", "赤い丸", "a\tred\ncircle", "e\u0301"])
def test_emoji_and_every_script_are_welcome(prompt: str) -> None:
    assert recipe(prompt=prompt).prompt


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "\u3000"])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    assert refusal(prompt=prompt).limit == "must not be empty"


def test_an_over_long_prompt_is_refused_with_its_length() -> None:
    error = refusal(prompt="long " * 1000)
    assert "5000 characters, at most 400" in str(error)
    assert "404 characters, at most 400" in str(refusal(prompt="long " * 81))
    assert len(error.value) <= 80
    assert recipe(prompt="a" * 400).prompt == "a" * 400


@pytest.mark.parametrize(("field", "value", "nearest"), [("model", "tinny", "tiny"), ("scheduler", "unipcc", "unipc")])
def test_an_unknown_choice_gets_the_closest(field: str, value: str, nearest: str) -> None:
    error = refusal(LIMITS, **{field: value})
    assert error.nearest == nearest
    assert nearest in error.limit


@pytest.mark.parametrize(
    ("setting", "value", "nearest"),
    [("kind", "first_block", "first_block_cache"), ("kind", "", "first_block_cache"), ("threshold", -0.1, 0.0),
     ("threshold", 1.5, 1.0), ("cache_reset_every", 0, 1), ("cache_reset_every", 2000, 1000)],
)  # fmt: skip
def test_a_cache_setting_that_is_wrong_gets_the_nearest(setting: str, value: Any, nearest: Any) -> None:
    error = refusal(cache={setting: value})
    assert (error.field, error.nearest) == (f"cache.{setting}", nearest)
    made = recipe(cache={setting: error.nearest}).cache
    assert getattr(made, setting) == nearest


def test_a_cache_of_which_nothing_is_said_has_diffusers_threshold() -> None:
    assert recipe().cache is None
    assert recipe(cache={}).cache == FeatureCache(kind="first_block_cache", threshold=0.05, cache_reset_every=10)


def test_an_error_names_field_value_limit_and_nearest() -> None:
    report = refusal(num_frames=16).report()
    assert (report.field, report.value, report.nearest) == ("num_frames", "16", "17")
    assert report.limit == "must be 4k + 1 and at most 161"
    assert all(part in report.message for part in ("num_frames", "16", "4k + 1", "161", "17"))
