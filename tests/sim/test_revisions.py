"""A job runs only where the weights are those that it was accepted with."""

from __future__ import annotations

import pytest

from schemas.errors import OtherRevision
from schemas.events.reports import Failed, Started
from schemas.stage import STAGES, Stage
from streams.coordinator.core import placement
from tests.sim.played_line import Line, done, names

OTHER = "0" * 64


@pytest.fixture
def line() -> Line:
    line = Line()
    line.submit()
    return line


def revision(line: Line) -> str:
    return line.policy.bundles["tiny"].revision


def test_a_worker_with_other_weights_under_the_same_name_gets_no_task(line: Line) -> None:
    line.beat("wrong", revision=OTHER)
    assert placement.place(line.ledger, line.now) == []
    line.beat("right", revision=revision(line))
    assert line.task().incarnation == "right-1"


def test_mux_reads_no_weights_and_runs_anywhere(line: Line) -> None:
    line.beat("right", revision=revision(line))
    for _ in STAGES[:-1]:
        task = line.task()
        line.report(Started(**names(task)))
        line.report(done(task))
    line.beat("right", revision=revision(line), leaving=True)
    line.beat("wrong", revision=OTHER)
    task = line.task()
    assert (task.stage, task.incarnation) == (Stage.MUX, "wrong-1")


def test_a_worker_of_an_earlier_release_says_none_and_works_on(line: Line) -> None:
    line.beat("older")
    assert line.task().incarnation == "older-1"


def test_a_worker_that_comes_back_with_other_weights_is_a_candidate_no_longer(line: Line) -> None:
    line.beat("w", revision=revision(line))
    line.beat("w", revision=OTHER)
    assert placement.place(line.ledger, line.now) == []


def test_a_task_that_meets_other_weights_goes_elsewhere_and_costs_no_attempt(line: Line) -> None:
    """Such as when the files were changed while the worker ran, and its child has loaded them anew."""
    line.beat("changed")
    for _ in range(5):
        task = line.task()
        assert task.incarnation == "changed-1"
        error = OtherRevision("tiny", revision(line), OTHER).report()
        line.report(Failed(**names(task), error=error))
        line.now += 60
    line.beat("right", revision=revision(line))
    line.beat("changed")
    task = line.task()
    assert task.incarnation == "right-1"
    state = line.ledger.jobs[line.job]
    assert state.stages[Stage.ENCODE].failures == 0
