"""Where an unreadable batch ends is found in few questions, however many records it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.unreadable_batches import first_outside


@given(st.integers(0, 10**9), st.integers(1, 2 * 10**7))
def test_the_end_of_a_batch_is_found_in_few_questions(first: int, length: int) -> None:
    asked: list[int] = []

    def is_inside(offset: int) -> bool:
        asked.append(offset)
        return first <= offset < first + length

    assert first_outside(first, is_inside) == first + length
    assert len(asked) <= 2 * length.bit_length()
