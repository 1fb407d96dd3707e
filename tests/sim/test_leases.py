"""Who holds a lease: what is lost by silence, voided by a heartbeat, taken back, superseded."""

from __future__ import annotations

from schemas.errors import ErrorKind
from schemas.events.reports import Started
from schemas.events.tasks import CancelTask, Task
from schemas.job import JobStatus
from schemas.stage import Stage
from streams.coordinator.core import placement
from streams.coordinator.core.effects import Count, Send
from tests.sim.played_line import Line, done, failed, held, names


def test_a_silent_worker_loses_its_lease_and_the_stage_runs_elsewhere() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    line.report(Started(**names(first)))
    line.beat("a", held(first), echo=1)
    for number in range(line.policy.lost_after):
        line.tick(number)
        line.beat("b")
    assert line.ledger.jobs[line.job].lease is not None
    line.tick()
    second = line.task()
    assert (second.incarnation, second.stage, second.lease) == ("b-1", Stage.ENCODE, first.lease + 1)


def superseded() -> tuple[Line, Task, Task]:
    """A task whose worker has left, and the one that was given out after it."""
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    line.beat("a", leaving=True)
    line.beat("b")
    return line, first, line.task()


def test_good_work_under_a_void_lease_counts_and_stops_its_successor() -> None:
    line, first, second = superseded()
    effects = line.report(done(first))
    assert [e.event.lease for e in effects if isinstance(e, Send) and isinstance(e.event, CancelTask)] == [second.lease]
    assert line.ledger.jobs[line.job].stage is Stage.DENOISE


def test_a_task_on_its_way_to_a_worker_that_left_in_order_is_void_and_what_it_began_is_lost() -> None:
    for begun, how in (False, "voided"), (True, "lost"):
        line = Line()
        line.submit()
        line.beat("a")
        task = line.task()
        if begun:
            line.report(Started(**names(task)))
        line.beat("a", leaving=True)
        state = line.ledger.jobs[line.job]
        assert (state.status, state.attempts[-1].outcome) == (JobStatus.WAITING, how)


def test_a_failure_under_a_void_lease_changes_nothing() -> None:
    line, first, second = superseded()
    before = line.ledger.jobs[line.job]
    assert line.report(failed(first, ErrorKind.BUG)) == [Count("duplicate", ("outcome",))]
    assert line.ledger.jobs[line.job] is before
    assert before.lease is not None
    assert before.lease.number == second.lease


def test_the_loss_of_a_worker_that_was_draining_is_no_suspicion() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    task = line.task()
    line.report(Started(**names(task)))
    line.beat("a", held(task), echo=task.lease, draining=True)
    for number in range(line.policy.lost_after + 1):
        line.tick(number)
    state = line.ledger.jobs[line.job]
    assert (state.status, state.stages[Stage.ENCODE].suspicions) == (JobStatus.WAITING, 0)


def test_a_lease_voided_in_error_is_taken_back_and_its_unstarted_successor_stopped() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    line.beat("a", echo=first.lease)
    line.beat("b", slots=2)
    placed = [e.event for e in placement.place(line.ledger, line.now) if isinstance(e, Send)]
    [successor] = [event for event in placed if isinstance(event, Task)]
    effects = line.beat("a", held(first), echo=successor.lease)
    stopped = [e.event.lease for e in effects if isinstance(e, Send) and isinstance(e.event, CancelTask)]
    assert stopped == [successor.lease]
    lease = line.ledger.jobs[line.job].lease
    assert lease is not None
    assert lease.number == first.lease


def test_a_lease_whose_outcome_was_read_is_neither_taken_back_nor_in_the_way() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    line.beat("a", held(first), echo=first.lease)
    line.report(failed(first, ErrorKind.TRANSIENT))
    assert line.beat("a", held(first), echo=first.lease) == []
    assert line.ledger.jobs[line.job].lease is None
    line.now += 60
    assert line.task().lease == first.lease + 1


def test_a_lease_that_was_read_and_is_not_held_is_void() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    line.beat("a", echo=0)
    assert line.ledger.jobs[line.job].lease is not None
    line.beat("a", echo=first.lease)
    assert line.ledger.jobs[line.job].lease is None


def test_our_own_pause_convicts_nobody() -> None:
    line = Line()
    line.beat("a")
    for number in range(line.policy.lost_after):
        line.tick(number)
    line.tick(after_gap=True)
    for number in range(line.policy.lost_after):
        line.tick(number)
    assert "a-1" in line.ledger.workers
    line.submit()
    assert placement.place(Line().ledger, line.now) == []


def test_a_new_life_of_a_worker_supersedes_the_old_one() -> None:
    line = Line()
    line.beat("a", life=1)
    [told] = [e for e in line.beat("a", life=2) if isinstance(e, Send) and e.stage is Stage.ENCODE]
    assert told.event.incarnation == "a-1"
    assert "a-1" not in line.ledger.workers
