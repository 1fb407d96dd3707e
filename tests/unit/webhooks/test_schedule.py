"""When a delivery is tried again, by the schedule or by what its receiver asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.delivery import schedule
from webhooks.delivery.http import seconds_of


def test_the_schedule_is_the_one_of_standard_webhooks() -> None:
    delays = [schedule.delay(attempts, 1.0, 0.5) for attempts in range(1, 11)]
    assert delays == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]


@given(st.integers(1, 9), st.floats(0, 1), st.floats(0.001, 1))
def test_jitter_is_a_fifth_to_both_sides(attempts: int, chance: float, pace: float) -> None:
    planned = schedule.DELAYS_S[attempts - 1] * pace
    wait = schedule.delay(attempts, pace, chance)
    assert wait is not None
    assert 0.79 * planned < wait < 1.21 * planned


@pytest.mark.parametrize(("wish", "wait"), [(None, 5), (3, 5), (60, 60), (10**9, 86400)])
def test_a_receiver_may_ask_for_more_patience_within_reason(wish: float | None, wait: float) -> None:
    assert schedule.delay(1, 1.0, 0.5, wish) == wait


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("", None), (None, None), ("x", None), ("-1", None), ("٣", None),
                          ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("9" * 40, 999999999)],
)  # fmt: skip
def test_how_long_a_receiver_asks_for(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == seconds
