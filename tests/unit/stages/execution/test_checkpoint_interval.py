"""Young's rule makes least of what checkpoints and failures cost together, and the cost is measured, not believed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime.settings import Settings
from stages.execution.checkpoint_interval import CheckpointCost, IntervalRule
from streams.worker.compute.child import intervals_of

COSTS = st.floats(1e-6, 100.0)
BETWEEN_FAILURES = st.floats(1.0, 1e7)
UNBOUNDED = {"shortest": 0.0, "longest": math.inf}


@st.composite
def rules(draw: st.DrawFn) -> IntervalRule:
    shortest = draw(st.floats(0.01, 100.0))
    return IntervalRule(draw(BETWEEN_FAILURES), shortest, shortest + draw(st.floats(0.0, 1000.0)))


@given(cost=COSTS, between=BETWEEN_FAILURES, factor=st.floats(0.01, 100.0))
def test_no_other_interval_loses_less(cost: float, between: float, factor: float) -> None:
    """Lost a second of work: the cost once an interval, and half an interval a failure."""

    def lost(interval: float) -> float:
        return cost / interval + interval / (2 * between)

    best = IntervalRule(between, **UNBOUNDED).interval(cost)
    assert lost(best) <= lost(best * factor) * (1 + 1e-9)


@given(rule=rules(), cost=st.none() | st.floats(0.0, 1e6))
def test_an_interval_is_within_its_bounds(rule: IntervalRule, cost: float | None) -> None:
    assert rule.shortest <= rule.interval(cost) <= rule.longest


@given(rule=rules(), costs=st.tuples(COSTS, COSTS).map(sorted))
def test_what_costs_more_is_done_less_often(rule: IntervalRule, costs: list[float]) -> None:
    assert rule.interval(costs[0]) <= rule.interval(costs[1])


@given(cost=COSTS, between=st.tuples(BETWEEN_FAILURES, BETWEEN_FAILURES).map(sorted))
def test_rarer_failures_need_fewer_checkpoints(cost: float, between: list[float]) -> None:
    rare, often = (IntervalRule(seconds, **UNBOUNDED).interval(cost) for seconds in reversed(between))
    assert often <= rare


@given(seconds=st.floats(0.0, 1e6) | st.just(math.inf), cost=st.none() | st.floats(0.0, 1e6))
def test_a_fixed_interval_asks_for_no_cost(seconds: float, cost: float | None) -> None:
    assert IntervalRule.fixed(seconds).interval(cost) == seconds


def test_the_first_checkpoint_comes_early_since_it_measures() -> None:
    assert IntervalRule(600.0, 0.5, 60.0).interval(None) == 0.5


def test_cost_is_the_copies_and_how_much_slower_steps_are_beside_a_save() -> None:
    cost = CheckpointCost()
    assert cost.seconds is None
    for _ in range(4):
        cost.stepped(1.0)
    cost.copied(0.25)
    cost.stepped(1.5, beside=1.5)
    cost.stepped(1.25, beside=0.5)
    assert cost.seconds == 0.25 + 0.75
    cost.copied(0.25)
    assert cost.seconds == (0.5 + 0.75) / 2


@given(steps=st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0)), min_size=1, max_size=50))
def test_chance_never_makes_a_checkpoint_free_or_dearer_than_its_saves(steps: list[tuple[float, float]]) -> None:
    cost = CheckpointCost()
    cost.copied(0.01)
    for seconds, beside in steps:
        cost.stepped(seconds, beside)
    assert cost.seconds is not None
    assert 0.01 <= cost.seconds <= 0.01 + sum(beside for _, beside in steps)


def test_a_fixed_interval_wins_over_the_rule() -> None:
    assert intervals_of(Settings(checkpoint_interval_s=7.0)) == IntervalRule.fixed(7.0)
    rule = Settings(checkpoint_interval_min_s=2.0, checkpoint_interval_max_s=9.0, mean_time_between_failures_s=50.0)
    assert intervals_of(rule) == IntervalRule(50.0, 2.0, 9.0)


def test_bounds_that_cross_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"4\.0 is below LATENTLINE_CHECKPOINT_INTERVAL_MIN_S = 5\.0"):
        Settings(checkpoint_interval_min_s=5.0, checkpoint_interval_max_s=4.0)
