"""How long a video is kept is decided when its job is accepted, told at its end, and done when its time has come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.errors import ErrorKind
from schemas.events.completions import JobCompleted, JobFailed
from schemas.events.prompts import CancelRequested, DeleteRequested
from schemas.events.reports import ExpiryDue
from schemas.job import JobState, JobStatus
from schemas.retention import Retention
from schemas.stage import STAGES
from streams.coordinator.core import intake
from streams.coordinator.core.effects import Catalogue, Count, DeadLetter, Effect, Forward
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.state.tombstone import EndedJob, JobRecord, ended_job, read_record, retention_start
from tests.sim.played_line import PROMPT, Line, done, ends, failed

SECONDS = {Retention.EPHEMERAL: 10.0, Retention.STANDARD: 300.0}


def a_line(**tenants: Retention) -> Line:
    line = Line()
    return replace(line, policy=replace(line.policy, kept_seconds=SECONDS, tenants=tenants))


def completed(line: Line, **asked: str) -> tuple[JobState, list[Effect]]:
    """The state of a job to its end, which is committed, and the effects of that."""
    line.submit(PROMPT.model_copy(update=asked))
    line.beat("a")
    job, effects = line.job, list[Effect]()
    for _ in STAGES:
        effects = line.report(done(line.task()))
    state = line.ledger.jobs[job]
    line.commit()
    return state, effects


@pytest.mark.parametrize(
    ("asked", "set_for_tenant", "kept", "seconds"),
    [
        (None, None, Retention.STANDARD, 300.0),
        ("ephemeral", None, Retention.EPHEMERAL, 10.0),
        (None, Retention.EPHEMERAL, Retention.EPHEMERAL, 10.0),
        ("keep", Retention.EPHEMERAL, Retention.KEEP, None),
    ],
)
def test_a_job_names_its_class_else_its_tenant_does(
    asked: str | None, set_for_tenant: Retention | None, kept: Retention, seconds: float | None
) -> None:
    line = a_line(**({"default": set_for_tenant} if set_for_tenant else {}))
    state, effects = completed(line, **({"retention": asked} if asked else {}))
    expires_at = None if seconds is None else line.now + seconds
    assert (state.retention, state.expires_at) == (kept, expires_at)
    [end] = ends(effects)
    assert isinstance(end, JobCompleted)
    assert end.expires_at == expires_at
    [record] = [effect.record for effect in effects if isinstance(effect, Catalogue)]
    assert record is not None
    assert (record.job, record.retention, record.expires_at) == (state.job, kept, expires_at)


def test_a_class_that_there_is_none_of_is_named_with_the_nearest() -> None:
    line = a_line()
    [end] = ends(line.submit(PROMPT.model_copy(update={"retention": "standart"})))
    assert isinstance(end, JobFailed)
    assert (end.error.field, end.error.nearest) == ("retention", "standard")


def test_a_job_that_was_to_be_deleted_or_has_failed_has_no_record() -> None:
    line = a_line()
    line.submit()
    line.beat("a")
    for _ in STAGES[:-1]:
        line.report(done(line.task()))
    last = line.task()
    intake.delete(line.ledger, DeleteRequested(job=line.job), Raw(), line.now)
    effects = line.report(done(last))
    assert [type(end) for end in ends(effects)] == [JobCompleted]
    assert not [effect for effect in effects if isinstance(effect, Catalogue)]
    assert line.ledger.jobs[line.job].status is JobStatus.DELETED
    other = a_line()
    other.submit()
    other.beat("a")
    effects = other.report(failed(other.task(), ErrorKind.INVALID_JOB))
    assert not [effect for effect in effects if isinstance(effect, Catalogue)]


def test_the_coordinator_looks_whether_a_video_has_expired_and_forgets_its_job_once() -> None:
    line = a_line()
    state, _ = completed(line, retention="ephemeral")
    due, early = ExpiryDue(job=state.job), [Count("duplicate", ("expiry",))]
    assert intake.asks_for(line.ledger, due) is not None
    assert intake.expire(line.ledger, due, line.now + 9.9, state) == early
    assert intake.expire(line.ledger, due, line.now + 10.0, None) == early, "its state cannot be read"
    assert intake.expire(line.ledger, due, line.now + 10.0, state) == [Catalogue(state.job, None)]
    gone = line.ledger.jobs[state.job]
    assert (gone.status, gone.deleted_at, gone.video) == (JobStatus.DELETED, line.now + 10.0, None)
    line.commit()
    assert intake.asks_for(line.ledger, due) is None
    assert intake.expire(line.ledger, due, line.now + 11.0) == early


@pytest.mark.parametrize("wish", [False, True])
def test_a_delete_of_a_job_that_nobody_remembers_goes_to_the_janitor_as_it_came(wish: bool) -> None:
    """Also where a cancel of it, by whomever, is all that there is."""
    line, job, raw = a_line(), "video_" + "0" * 32, Raw(b"{}", [("ce_id", b"1")], "prompts/0/7")
    if wish:
        intake.cancel(line.ledger, CancelRequested(job=job, tenant="mallory"), Raw(), line.now)
        line.commit()
    asked = DeleteRequested(job=job)
    assert intake.delete(line.ledger, asked, raw, line.now) == [Forward(b"{}", [("ce_id", b"1")], "prompts/0/7")]
    [letter] = intake.delete(line.ledger, asked, Raw(b"x" * 5000), line.now)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "too_large"


def test_a_deleted_job_is_remembered_from_its_deletion_on() -> None:
    line = a_line()
    state, _ = completed(line)
    later = line.now + line.policy.tombstone_seconds - 1
    intake.delete(line.ledger, DeleteRequested(job=state.job), Raw(), later, state)
    line.commit()
    known = line.ledger.known(state.job)
    assert isinstance(known, EndedJob)
    assert retention_start(known) == retention_start(ended_job(known_in(line, state.job))) == later


def known_in(line: Line, job: str) -> JobRecord:
    """As a replay reads it."""
    return read_record(line.changelog[job])
