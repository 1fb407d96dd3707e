"""What simulated scenarios have found, each cut down to the shortest story that shows it."""

from __future__ import annotations

import pytest

from schemas.base import Frozen
from schemas.errors import ErrorKind
from schemas.events.completions import JobFailed
from schemas.events.reports import Heartbeat, HeldLease, HeldState, Inbox, InputMissing, Started
from schemas.events.tasks import CancelTask, Task
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage
from streams.coordinator.core import dispatch as core
from streams.coordinator.core import membership, placement
from streams.coordinator.core.completion import guarded
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Effect, Send
from streams.coordinator.core.state.ledger import Ledger, WorkerView
from tests.sim.driver import load_record
from tests.sim.logs import Logs
from tests.sim.played_line import PROMPT, Line, done, ends, failed, held, names

DAY = 24 * 3600.0


def orders(effects: list[Effect]) -> list[Frozen]:
    return [effect.event for effect in effects if isinstance(effect, Send)]


def cancelled(effects: list[Effect]) -> list[int]:
    return [order.lease for order in orders(effects) if isinstance(order, CancelTask)]


def placed(line: Line) -> list[Task]:
    return [order for order in orders(placement.place(line.ledger, line.now)) if isinstance(order, Task)]


def submit(line: Line, *keys: str) -> None:
    for key in keys:
        line.submit(PROMPT.model_copy(update={"idempotency_key": key}))


def start(line: Line, task: Task) -> None:
    line.report(Started(**names(task)))


def missing(task: Task, etag: str) -> InputMissing:
    assert task.stage.upstream is not None
    return InputMissing(**names(task), upstream_stage=task.stage.upstream, upstream_key="k", etag=etag, why="gone")


def next_life(line: Line) -> Line:
    """What the changelog tells a new coordinator, past its grace period."""
    line.commit()
    after = Line(now=line.now, changelog=dict(line.changelog))
    for job, value in line.changelog.items():
        load_record(after.ledger, job, value)
    after.ledger.take_over()
    after.tick(1, after_gap=True)
    for number in range(after.policy.hold_after_gap):
        after.tick(number + 2)
    return after


# -- retries -------------------------------------------------------------------------------------------------------


def test_an_output_that_is_lost_each_time_it_is_read_ends_the_job() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    for number in range(line.policy.max_attempts):
        line.report(done(line.task(), f"etag-{number}"))
        effects = line.report(missing(line.task(), f"etag-{number}"))
    [event] = ends(effects)
    assert isinstance(event, JobFailed)
    assert event.error.kind is ErrorKind.INPUT_LOST


def test_a_worker_that_misses_what_the_job_does_not_have_is_not_asked_for_ever() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    line.report(done(line.task(), "good"))
    effects: list[Effect] = []
    for _ in range(line.policy.max_attempts):
        effects = line.report(missing(line.task(), "another"))
    assert [type(event) for event in ends(effects)] == [JobFailed]


def test_a_retry_is_not_forgotten_when_the_clock_is_set_back() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    line.report(failed(line.task(), ErrorKind.TRANSIENT))
    line.beat("a", slots=0)
    line.now += 60
    assert placed(line) == []
    line.now -= 60
    line.beat("a")
    assert placed(line) == []
    line.now += 60
    assert len(placed(line)) == 1


# -- takeover ------------------------------------------------------------------------------------------------------


def test_a_task_on_its_way_to_a_worker_survives_a_takeover_and_keeps_its_slot() -> None:
    before = Line()
    submit(before, "one", "two")
    before.beat("a")
    task = before.task()
    line = next_life(before)
    line.beat("a")
    assert placed(line) == []
    assert line.beat("a", held(task), echo=task.lease) == []
    lease = line.ledger.jobs[task.job].lease
    assert lease is not None
    assert lease.number == task.lease


def test_a_lease_that_was_read_and_is_not_held_is_void_also_after_a_takeover() -> None:
    before = Line()
    before.submit()
    before.beat("a")
    task = before.task()
    line = next_life(before)
    line.beat("a", echo=task.lease)
    assert line.task().lease == task.lease + 1


def test_lease_numbers_go_on_when_all_jobs_of_old_are_forgotten() -> None:
    before = Line()
    before.submit()
    before.beat("a")
    for _ in STAGES:
        last = before.task()
        before.report(done(last))
    before.now += 30 * DAY
    before.tick()
    line = next_life(before)
    assert line.ledger.next_lease() > last.lease


# -- suspicion -----------------------------------------------------------------------------------------------------


def suspect(line: Line) -> Task:
    """The next job starts on a worker that vanishes with it."""
    line.beat("victim", life=1)
    [task] = placed(line)
    start(line, task)
    line.beat("victim", life=2, slots=0)
    return task


def test_nothing_is_put_beside_a_suspect() -> None:
    line = Line()
    submit(line, "suspect")
    suspect(line)
    submit(line, "other")
    line.beat("a", slots=2)
    assert len(placed(line)) == 1
    line.beat("b")
    assert len(placed(line)) == 1


def test_a_worker_of_many_slots_is_emptied_for_a_suspect() -> None:
    line = Line()
    submit(line, "neighbour")
    line.beat("a", slots=2)
    [neighbour] = placed(line)
    line.beat("a", held(neighbour), slots=0)
    submit(line, "suspect")
    task = suspect(line)
    line.beat("a", held(neighbour), slots=2)
    assert placed(line) == []
    submit(line, *map(str, range(5)))
    assert placed(line) == []
    line.report(done(neighbour))
    assert [other.job for other in placed(line)] == [task.job]


def test_a_worker_that_speaks_again_withdraws_the_suspicion() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    start(line, first)
    line.beat("a", held(first), echo=first.lease)
    for number in range(line.policy.lost_after + 1):
        line.tick(number)
    assert line.ledger.jobs[line.job].stages[Stage.ENCODE].suspicions == 1
    line.beat("a", held(first), echo=first.lease)
    state = line.ledger.jobs[line.job]
    assert (state.status, state.stages[Stage.ENCODE].suspicions) == (JobStatus.RUNNING, 0)


# -- leases --------------------------------------------------------------------------------------------------------


def test_a_lease_whose_output_was_condemned_meanwhile_is_not_taken_back() -> None:
    """The task that it works on does not know of the condemnation, and would answer with the bad output."""
    line = Line()
    line.submit()
    line.beat("a")
    first = line.task()
    start(line, first)
    for number in range(line.policy.lost_after + 1):
        line.tick(number)
    line.beat("b")
    line.report(done(line.task(), "bad"))
    line.report(missing(line.task(), "bad"))
    assert cancelled(line.beat("a", held(first), echo=first.lease)) == [first.lease]
    assert line.ledger.jobs[line.job].lease is None


def test_each_void_lease_of_a_worker_is_cancelled_once() -> None:
    line = Line()
    line.beat("a")
    strays = [HeldLease(lease=n, job=f"gone-{n}", stage=Stage.ENCODE, state=HeldState.RUNNING) for n in (1, 2)]
    assert cancelled(line.beat("a", *strays, slots=2)) == [1, 2]
    assert cancelled(line.beat("a", *strays, slots=2)) == []


def test_a_task_that_lies_unread_is_voided_and_its_inbox_avoided_until_it_is_read() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    task = line.task()
    effects: list[Effect] = []
    for number in range(line.policy.unread_after + 1):
        line.beat("a")
        effects += line.tick(number)
    assert cancelled(effects) == [task.lease]
    line.beat("a")
    assert placed(line) == []
    line.beat("a", echo=task.lease)
    assert line.task().lease > task.lease


def test_an_inbox_that_is_not_read_does_not_hold_up_the_other_stages_of_its_worker() -> None:
    """Echoes are an inbox's own: a later lease may be read first."""
    line = Line()
    submit(line, "one", "two")
    line.beat("a", slots=2)
    first, second = placed(line)
    line.report(done(second))
    third = line.task()
    inboxes = tuple(Inbox(stage=s, partition=3, echo=third.lease if s is third.stage else 0) for s in STAGES)
    beat = Heartbeat(
        incarnation="a-1", worker="a", node="n", started_at=1.0, inboxes=inboxes, slots=2, leases=(held(third),),
        bundles=("tiny",),
    )  # fmt: skip
    membership.heartbeat(line.ledger, line.policy, beat, line.now)
    assert line.ledger.job_of(first.lease) is not None
    assert line.ledger.job_of(third.lease) is not None


def test_an_outcome_that_cannot_be_taken_in_fails_its_lease() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    task = line.task()
    logs = Logs()
    logs.append("reports", done(task), "poison", line.now)
    [record] = logs.records["reports"]
    assert isinstance(record, Record)
    assert isinstance(record, Record)
    core.dead_letter(line.ledger, line.policy, record, "poison_event", "raised", line.now)
    state = line.ledger.jobs[line.job]
    assert state.lease is None
    assert state.attempts[-1].outcome == "failed"


def test_a_timer_that_raises_ends_its_own_job_alone() -> None:
    line = Line()
    submit(line, "one", "two")
    broken, sound = sorted(state.job for state in line.ledger.jobs.values())

    def act() -> list[Effect]:
        raise ZeroDivisionError

    [event] = ends(guarded(line.ledger, broken, line.now, act))
    assert isinstance(event, JobFailed)
    assert (event.job, event.error.kind) == (broken, ErrorKind.BUG)
    assert line.ledger.jobs[sound].status is JobStatus.WAITING


def test_a_job_for_which_placement_raises_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    submit(line, "one", "two")
    broken, sound = sorted(state.job for state in line.ledger.jobs.values())
    dispatch = placement.dispatch

    def raising(ledger: Ledger, view: WorkerView, state: JobState, alone: bool, now: float) -> list[Effect]:
        if state.job == broken:
            raise ZeroDivisionError
        return dispatch(ledger, view, state, alone, now)

    monkeypatch.setattr(placement, "dispatch", raising)
    line.beat("a", slots=2)
    effects = placement.place(line.ledger, line.now)
    [event] = ends(effects)
    assert isinstance(event, JobFailed)
    assert (event.job, event.error.kind) == (broken, ErrorKind.BUG)
    assert [order.job for order in orders(effects) if isinstance(order, Task)] == [sound]


# -- rollback ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2])
def test_what_a_dropped_overlay_had_placed_is_placed_again(slots: int) -> None:
    line = Line()
    submit(line, "one", "two", "three")
    line.beat("a", slots=slots)
    line.ledger.commit()
    first = placed(line)
    line.ledger.rollback()
    again = placed(line)
    assert again == first
    assert len(first) == slots


def test_a_dropped_overlay_does_not_leave_a_worker_behind_as_open() -> None:
    line = Line()
    line.beat("a")
    line.ledger.rollback()
    line.submit()
    assert placed(line) == []
    assert len(line.ledger.open) == 0
