"""A store that is away is asked ever more rarely, by one try at a time, and as before once it answers."""

from __future__ import annotations

import pytest

from schemas.errors import StoreUnavailable
from stages.storage.circuit_breaker import Breaker

TRIES = 4


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def asked_in(breaker: Breaker, clock: Clock, seconds: float) -> int:
    """How often a caller that asks ten times a second gets through, in vain."""
    count, end = 0, clock.now + seconds
    while clock.now < end:
        try:
            breaker.allow(TRIES)
        except StoreUnavailable:
            pass
        else:
            count += 1
            breaker.failed()
        clock.now += 0.1
    return count


def test_no_hot_loop_reaches_a_dead_store() -> None:
    breaker = Breaker(0.5, 4.0, clock := Clock())
    assert asked_in(breaker, clock, 60.0) <= 25


def test_after_a_rest_one_try_and_after_an_answer_all_of_them() -> None:
    breaker = Breaker(0.5, 4.0, clock := Clock())
    assert breaker.allow(TRIES) == TRIES
    breaker.failed()
    with pytest.raises(StoreUnavailable, match="asked again in 0"):
        breaker.allow(TRIES)
    clock.now += 1.0
    assert breaker.allow(TRIES) == 1
    breaker.answered()
    assert breaker.allow(TRIES) == TRIES


def test_who_has_reason_to_look_again_has_one_try_at_once() -> None:
    breaker = Breaker(0.5, 4.0, Clock())
    breaker.failed()
    breaker.look_again()
    assert breaker.allow(TRIES) == 1
    breaker.failed()
    with pytest.raises(StoreUnavailable):
        breaker.allow(TRIES)
