"""Words that a model does not know are named before anybody waits for a picture of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bundle import BundleManifest, read_bundles
from schemas.vocabulary import warnings_of
from tiny_model.captions import DIRECTIONS, PALETTE, SHAPES, all_captions

TINY = read_bundles([Path("bundles/tiny")])["tiny"]


def test_the_tiny_models_description_lists_the_words_of_its_captions() -> None:
    assert set(TINY.vocabulary or ()) == {"a", "background", "moving", "on", *PALETTE, *SHAPES, *DIRECTIONS}


def test_no_caption_that_it_was_trained_on_is_warned_of() -> None:
    assert {warnings_of(TINY, caption.text.upper() + ".") for caption in all_captions()} == {()}


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("an olive circle", '"an", "olive", and'),
        ("a grean circle", '"grean" (did you mean green?)'),
        ("a red sqare", '"sqare" (did you mean square?)'),
        ("a black hole", '"hole"'),
        ("красный a круг", '"красный", "круг"'),
    ],
)
def test_a_word_that_it_does_not_know_is_named_and_what_it_knows_is_listed(prompt: str, said: str) -> None:
    [warning] = warnings_of(TINY, prompt)
    assert warning.startswith("prompt: tiny does not know ")
    assert said in warning
    assert "it knows a, background, black, blue" in warning


def test_a_negative_prompt_is_looked_at_too() -> None:
    [warning] = warnings_of(TINY, "a red circle", "blurry")
    assert warning.startswith('negative_prompt: tiny does not know "blurry"')


def test_a_model_that_reads_any_text_is_warned_of_nothing() -> None:
    assert warnings_of(TINY.replace(vocabulary=None), "an olive circle") == ()


def test_a_description_of_before_lists_no_words() -> None:
    before = {name: value for name, value in TINY.to_dict().items() if name != "vocabulary"}
    assert warnings_of(BundleManifest.read(before), "an olive circle") == ()


@given(text=st.text(max_size=2000))
def test_a_warning_is_short_and_printable_whatever_the_text(text: str) -> None:
    for warning in warnings_of(TINY, text):
        assert len(warning) < 1000
        assert warning.isprintable()


def test_megabytes_cost_no_more_than_a_long_prompt() -> None:
    start = time.thread_time()
    warnings_of(TINY, "maroon olive " * 200_000)
    warnings_of(TINY, "x" * 2_000_000)
    assert time.thread_time() - start < 0.5
