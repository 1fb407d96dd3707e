"""What operators and impatient clients ask for: drains, and cancels that overtake their prompt (rules 24 and 25)."""

from __future__ import annotations

from schemas.errors import Bug, ErrorKind
from schemas.events.completions import JobCancelled, JobFailed
from schemas.events.prompts import CancelRequested
from schemas.events.reports import DrainRequested
from schemas.events.tasks import Drain
from schemas.job import JobStatus, StageState
from schemas.stage import STAGES, Stage
from schemas.stage_keys import job_id
from streams.coordinator.core import drains, intake, retry
from streams.coordinator.core.effects import Count, DeadLetter, Effect
from streams.coordinator.core.intake import Raw
from tests.sim.played_line import PROMPT, Line, done, ends, failed, held
from tests.sim.test_found import DAY, next_life, orders, placed, start, submit

ASKED = DrainRequested(worker="a")
JOB = job_id(PROMPT.tenant, PROMPT.idempotency_key or "")


def ask(line: Line) -> list[Effect]:
    return drains.request(line.ledger, ASKED, Raw(b"raw"))


# -- drain ---------------------------------------------------------------------------------------------------------


def test_a_worker_is_told_through_each_of_its_inboxes_and_given_nothing_more() -> None:
    line = Line()
    submit(line, "one")
    line.beat("a")
    told = orders(ask(line))
    assert told == [Drain(incarnation="a-1", reason="asked by an operator")] * len(STAGES)
    assert placed(line) == []
    line.beat("a")
    assert placed(line) == []
    assert ask(line) == []


def test_its_next_life_is_as_good_as_any() -> None:
    line = Line()
    submit(line, "one")
    line.beat("a")
    ask(line)
    line.beat("a", leaving=True)
    line.beat("a", life=2)
    assert [task.incarnation for task in placed(line)] == ["a-2"]


def test_the_loss_of_a_worker_that_was_told_to_leave_is_no_suspicion() -> None:
    line = Line()
    submit(line, "one")
    line.beat("a")
    [task] = placed(line)
    start(line, task)
    line.beat("a", held(task), echo=task.lease)
    ask(line)
    for number in range(line.policy.lost_after + 1):
        line.tick(number)
    state = line.ledger.jobs[task.job]
    assert (state.status, state.stages[task.stage].suspicions) == (JobStatus.WAITING, 0)


def test_a_worker_that_nobody_hears_is_named_in_a_dead_letter() -> None:
    [letter] = ask(Line())
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.value, letter.key) == ("unknown_worker", b"raw", "a")


def test_after_a_takeover_a_wish_waits_for_the_worker_and_not_for_ever() -> None:
    line = Line()
    line.ledger.take_over()
    assert ask(line) == []
    assert len(orders(line.beat("a"))) == len(STAGES)
    late = Line()
    late.ledger.take_over()
    ask(late)
    late.tick(after_gap=True)
    for number in range(late.policy.hold_after_gap):
        late.tick(number)
    assert orders(late.beat("a")) == []


# -- a cancel before its prompt ------------------------------------------------------------------------------------


def cancel(line: Line, tenant: str = PROMPT.tenant) -> list[Effect]:
    return intake.cancel(line.ledger, CancelRequested(job=JOB, tenant=tenant, reason="too late"), Raw(), line.now)


def test_a_job_whose_cancel_came_first_ends_cancelled_once() -> None:
    line = Line()
    assert cancel(line) == []
    assert cancel(line) == [Count("duplicate", ("cancel",))]
    [event] = ends(line.submit())
    assert isinstance(event, JobCancelled)
    assert (event.job, event.reason, event.recipe is not None) == (JOB, "too late", True)
    assert line.submit() == [Count("duplicate", ("prompt",))]
    line.beat("a")
    assert placed(line) == []


def test_so_it_does_after_a_takeover() -> None:
    line = Line()
    cancel(line)
    assert [type(event) for event in ends(next_life(line).submit())] == [JobCancelled]


def test_another_tenant_cannot_cancel_what_is_not_there_yet() -> None:
    line = Line()
    cancel(line, "mallory")
    assert ends(line.submit()) == []
    assert line.ledger.jobs[JOB].status is JobStatus.WAITING
    [letter] = cancel(line, "mallory")
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "unknown_job"


def test_another_tenants_wish_does_not_hide_the_owners() -> None:
    line = Line()
    cancel(line, "mallory")
    cancel(line)
    assert [type(event) for event in ends(line.submit())] == [JobCancelled]


def test_a_wish_is_forgotten_like_an_ended_job() -> None:
    line = Line()
    cancel(line)
    line.ledger.commit()
    line.now += line.policy.tombstone_seconds + DAY
    line.tick()
    assert line.ledger.jobs.get(JOB) is None
    assert ends(line.submit()) == []


def test_a_job_whose_cancel_has_overtaken_it_is_remembered_from_its_own_end() -> None:
    line = Line()
    cancel(line)
    line.now += DAY
    line.submit()
    line.ledger.commit()
    line.now += line.policy.tombstone_seconds - 1
    line.tick()
    assert line.submit() == [Count("duplicate", ("prompt",))]
    line.now += 2
    line.tick()
    assert line.ledger.jobs.get(JOB) is None


# -- budgets -------------------------------------------------------------------------------------------------------


def test_no_kind_of_trouble_uses_up_the_attempts_of_another() -> None:
    line = Line()
    line.submit()
    kinds = [ErrorKind.TRANSIENT, ErrorKind.RESOURCE, ErrorKind.BUG, ErrorKind.TRANSIENT, ErrorKind.RESOURCE]
    for kind in kinds:
        line.beat("a")
        assert ends(line.report(failed(line.task(), kind))) == []
        line.now += 1000
    line.beat("a")
    assert [type(event) for event in ends(line.report(failed(line.task(), ErrorKind.BUG)))] == [JobFailed]


def test_success_gives_all_budgets_back() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    line.report(failed(line.task(), ErrorKind.BUG))
    line.now += 1000
    line.report(done(line.task()))
    record = line.ledger.jobs[line.job].stages[Stage.ENCODE]
    assert (record.failures, record.failures_by_kind) == (0, {})


def test_a_state_of_before_the_budgets_were_apart_counts_from_here() -> None:
    old = StageState(key="k", failures=2)
    assert not retry.is_exhausted(old, Bug("again").report(), 3)
