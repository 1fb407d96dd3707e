"""Text of tenants is bounded before any work that grows faster than it does."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bounds import LONGEST_MARK_RUN, RAW_CHARACTERS
from schemas.errors import InvalidJob
from schemas.text import clean_text

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
LONGEST = 400
MARKS = "\u0301\u0327"
PIECES = st.sampled_from(("a", MARKS, MARKS * 20, " " * 500, "x" * 1500, "\u0344", "\u1100\u1161"))


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that was normalised, which takes time quadratic in runs of combining marks."""
    seen: list[str] = []

    def normalize(form: Form, text: str) -> str:
        seen.append(text)
        return REAL(form, text)

    monkeypatch.setattr("schemas.text.unicodedata.normalize", normalize)
    return seen


REAL = unicodedata.normalize


def longest_run(text: str) -> int:
    runs = "".join("m" if unicodedata.combining(character) else " " for character in text).split()
    return max(map(len, runs), default=0)


@pytest.mark.parametrize("text", ["a" + MARKS * 100_000, "a" + MARKS * 200, "a" * 1_000_000, " " * 1_000_000])
def test_what_is_over_a_bound_is_refused_before_it_is_normalised(text: str, normalised: list[str]) -> None:
    with pytest.raises(InvalidJob) as caught:
        clean_text("prompt", text, LONGEST)
    assert normalised == []
    assert caught.value.field == "prompt"
    assert caught.value.nearest
    assert len(str(caught.value)) < 300


@given(pieces=st.lists(PIECES, max_size=12))
def test_no_text_is_normalised_beyond_the_bounds(pieces: list[str]) -> None:
    seen: list[str] = []

    def normalize(form: Form, text: str) -> str:
        seen.append(text)
        return REAL(form, text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("schemas.text.unicodedata.normalize", normalize)
        with suppress(InvalidJob):
            clean_text("prompt", "".join(pieces), LONGEST)
    for text in seen:
        assert len(text) <= LONGEST * RAW_CHARACTERS
        assert longest_run(text) <= LONGEST_MARK_RUN


def test_as_many_marks_as_a_language_may_have_are_welcome() -> None:
    text = "a" + "\u0323" * LONGEST_MARK_RUN
    assert clean_text("prompt", text, LONGEST, required=True) == unicodedata.normalize("NFC", text)
    with pytest.raises(InvalidJob, match="combining marks"):
        clean_text("prompt", text + "\u0323", LONGEST)


@pytest.mark.parametrize(
    "text",
    ["", " \t\r\n", "\u3000\u2003", "\u200b\u200d\ufeff", "\u0301", "\u0301\u0327 \u20dd", "\u3164", "\u2800 \u2800",
     "\u115f\u1160", "\ufe0f", "\u202e\u2066", "\U000e0041", "\u00ad"],
)  # fmt: skip
def test_a_prompt_of_nothing_visible_is_empty(text: str) -> None:
    with pytest.raises(InvalidJob, match="prompt"):
        clean_text("prompt", text, LONGEST, required=True)
    clean_text("negative_prompt", text, LONGEST)


@pytest.mark.parametrize("text", ["a", "\u200ba", "🔴", "\U0001fae8", "\u0645\u0651", "赤", "?", "\u0e01\u0e34"])
def test_what_can_be_seen_is_a_prompt(text: str) -> None:
    assert clean_text("prompt", text, LONGEST, required=True)


def test_half_of_a_character_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidJob, match=r"U\+D83D at 2"):
        clean_text("prompt", "a \ud83d", LONGEST)
