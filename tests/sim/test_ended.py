"""What stays of a job that has ended: a tombstone in memory, its whole state in the changelog."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.errors import ErrorKind
from schemas.events.prompts import CancelRequested, DeleteRequested
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage
from streams.coordinator.core import intake
from streams.coordinator.core.effects import Catalogue, Count, DeadLetter
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.state import ledger
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.state.tombstone import Common, EndedJob, JobRecord, ended_job, read_record
from tests.sim.driver import load_record
from tests.sim.played_line import PROMPT, Line, done, failed
from tests.sim.test_found import DAY, next_life, placed, submit


def finished(line: Line, key: str = "one") -> str:
    """The id of a job that a worker has finished, its end committed."""
    submit(line, key)
    for _ in STAGES:
        line.beat("a")
        task = line.task()
        line.report(done(task))
    line.commit()
    return task.job


def given_up(line: Line) -> str:
    line.submit()
    job = line.job
    line.beat("a")
    line.report(failed(line.task(), ErrorKind.INVALID_JOB))
    line.commit()
    return job


def cancelled(line: Line) -> str:
    line.submit()
    job = line.job
    intake.cancel(line.ledger, CancelRequested(job=job), Raw(), line.now)
    line.commit()
    return job


def cancelled_early(line: Line) -> str:
    line.submit()
    job = line.job
    line.ledger.rollback()
    intake.cancel(line.ledger, CancelRequested(job=job, reason="too soon"), Raw(), line.now)
    line.commit()
    return job


def deleted(line: Line) -> str:
    job = finished(line)
    whole = JobState.read(line.changelog[job])
    assert intake.delete(line.ledger, DeleteRequested(job=job), Raw(), line.now, whole) == [Catalogue(job, None)]
    line.commit()
    return job


ENDS = (finished, given_up, cancelled, cancelled_early, deleted)


@pytest.mark.parametrize("end", ENDS)
def test_of_an_ended_job_the_coordinator_keeps_no_state(end: Callable[[Line], str]) -> None:
    line = Line()
    job = end(line)
    assert dict(line.ledger.jobs.base) == {}
    assert [type(known) for known in line.ledger.ended.values()] == [EndedJob]
    assert line.ledger.known(job) == line.ledger.ended[job]


@pytest.mark.parametrize("end", ENDS)
def test_a_replay_keeps_the_same_of_a_job_as_the_coordinator_that_ended_it(end: Callable[[Line], str]) -> None:
    line = Line()
    job = end(line)
    assert next_life(line).ledger.ended == line.ledger.ended
    record = read_record(line.changelog[job])
    assert ended_job(record) == ended_job(JobState.read(line.changelog[job]))


def test_what_is_kept_has_the_names_of_the_state() -> None:
    assert set(JobRecord.__struct_fields__) <= JobState.model_fields.keys()
    assert set(Common.__struct_fields__) <= JobState.model_fields.keys()


def test_a_replayed_prompt_of_an_ended_job_is_a_no_op_after_a_takeover() -> None:
    line = Line()
    finished(line)
    after = next_life(line)
    assert after.submit() == [Count("duplicate", ("prompt",))]
    [letter] = after.submit(PROMPT.model_copy(update={"prompt": "another"}))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "id_conflict"


def test_a_delete_of_an_ended_job_is_carried_out_on_its_state_from_the_log() -> None:
    line = Line()
    job = finished(line)
    asked, version = DeleteRequested(job=job), line.ledger.ended[job].version
    wanted = intake.asks_for(line.ledger, asked)
    assert wanted is not None
    assert wanted.job == job
    whole = JobState.read(line.changelog[job])
    assert intake.delete(line.ledger, asked, Raw(), line.now, whole) == [Catalogue(job, None)]
    assert (line.ledger.jobs[job].status, line.ledger.jobs[job].version) == (JobStatus.DELETED, version + 1)
    assert intake.asks_for(line.ledger, asked) is None
    assert intake.delete(line.ledger, asked, Raw(), line.now) == [Count("duplicate", ("delete",))]
    line.commit()
    assert intake.asks_for(line.ledger, asked) is None
    assert intake.delete(line.ledger, asked, Raw(), line.now) == [Count("duplicate", ("delete",))]


def test_nobody_elses_delete_asks_for_a_state() -> None:
    line = Line()
    asked = DeleteRequested(job=finished(line), tenant="mallory")
    assert intake.asks_for(line.ledger, asked) is None
    [letter] = intake.delete(line.ledger, asked, Raw(), line.now)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "unknown_job"


def test_a_delete_whose_state_is_not_in_the_log_is_a_dead_letter() -> None:
    line = Line()
    [letter] = intake.delete(line.ledger, DeleteRequested(job=finished(line)), Raw(b"raw"), line.now)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.value) == ("state_missing", b"raw")


def test_a_dropped_delete_leaves_the_tombstone_as_it_was() -> None:
    line = Line()
    job = finished(line)
    kept = line.ledger.ended[job]
    intake.delete(line.ledger, DeleteRequested(job=job), Raw(), line.now, JobState.read(line.changelog[job]))
    line.ledger.rollback()
    assert line.ledger.known(job) is kept
    line.submit(PROMPT.model_copy(update={"idempotency_key": "the newest lease"}))
    placed(line)
    line.now += line.policy.tombstone_seconds + DAY
    line.tick()
    assert line.ledger.known(job) is None


def test_lease_numbers_go_on_after_a_takeover_where_all_jobs_have_ended() -> None:
    line = Line()
    finished(line)
    newest = line.ledger.numbers["lease"]
    assert next_life(line).ledger.next_lease() == newest + 1


def test_an_outcome_that_comes_after_the_end_is_wasted() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    task = line.task()
    job = line.job
    intake.cancel(line.ledger, CancelRequested(job=job), Raw(), line.now)
    line.report(failed(task, ErrorKind.TRANSIENT))
    line.commit()
    assert line.ledger.known(job) is not None
    assert line.report(done(task)) == [Count("duplicate", ("outcome",)), Count("wasted", ("unwanted",), 1.0)]


def test_breakers_are_rebuilt_from_jobs_that_have_ended_too() -> None:
    """And from those alone that ended of late."""
    line = Line()
    line.submit(PROMPT.model_copy(update={"idempotency_key": "long ago"}))
    intake.cancel(line.ledger, CancelRequested(job=line.job), Raw(), line.now - DAY)
    line.commit()
    for number in range(5):
        submit(line, f"job-{number}")
    line.beat("a", slots=5)
    for task in placed(line):
        line.report(failed(task, ErrorKind.RESOURCE))
    assert line.ledger.breakers[Stage.ENCODE].is_open
    for state in [*line.ledger.jobs.values()]:
        intake.cancel(line.ledger, CancelRequested(job=state.job), Raw(), line.now)
    line.commit()
    fresh = Ledger()
    for job, value in line.changelog.items():
        load_record(fresh, job, value)
    assert len(fresh.ended) == 6
    assert len([*fresh.recent]) == 5
    fresh.take_over()
    assert fresh.breakers[Stage.ENCODE].is_open


def test_tombstones_of_a_week_are_let_go_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "TOMBSTONES_A_TICK", 2)
    line = Line()
    for number in range(5):
        cancelled_job = PROMPT.model_copy(update={"idempotency_key": str(number)})
        line.submit(cancelled_job)
    for state in [*line.ledger.jobs.values()]:
        intake.cancel(line.ledger, CancelRequested(job=state.job), Raw(), line.now)
    line.commit()
    line.now += line.policy.tombstone_seconds + DAY
    left = []
    for number in range(3):
        line.tick(number)
        line.commit()
        left.append(len(line.ledger.ended))
    assert left == [3, 1, 0]
