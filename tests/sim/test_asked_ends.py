"""An end that somebody has asked for: a cancel, a deletion."""

from __future__ import annotations

from operations.audit.jobs import check_state
from schemas.errors import ErrorKind
from schemas.events.completions import JobCancelled
from schemas.events.prompts import CancelRequested, DeleteRequested
from schemas.events.tasks import CancelTask
from schemas.job import JobStatus
from streams.coordinator.core import intake
from streams.coordinator.core.effects import Count, DeadLetter, Send
from streams.coordinator.core.intake import Raw
from tests.sim.played_line import PROMPT, Line, ends, failed


def test_cancel_ends_a_waiting_job_at_once_and_asks_the_worker_of_a_running_one() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    task = line.task()
    cancel = CancelRequested(job=line.job)
    [command] = intake.cancel(line.ledger, cancel, Raw(), line.now)
    assert isinstance(command, Send)
    assert command.event.lease == task.lease  # type: ignore[union-attr]
    [event] = ends(line.report(failed(task, ErrorKind.TRANSIENT)))
    assert isinstance(event, JobCancelled)
    assert intake.cancel(line.ledger, cancel, Raw(), line.now) == [Count("duplicate", ("cancel",))]


def test_a_deleted_job_ends_once_and_leaves_nothing_but_its_id() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    task = line.task()
    delete = DeleteRequested(job=line.job)
    [command] = intake.delete(line.ledger, delete, Raw(), line.now)
    assert isinstance(command, Send)
    assert isinstance(command.event, CancelTask)
    assert intake.delete(line.ledger, delete, Raw(), line.now) == [Count("duplicate", ("delete",))]
    [end] = ends(line.report(failed(task, ErrorKind.TRANSIENT)))
    assert isinstance(end, JobCancelled)
    assert end.recipe is not None
    state = line.ledger.jobs[line.job]
    assert (state.status, state.recipe, state.metadata) == (JobStatus.DELETED, None, {})
    assert [*check_state(state)] == []
    assert [past.lease for past in state.attempts] == [task.lease]
    assert line.submit() == [Count("duplicate", ("prompt",))]
    assert intake.delete(line.ledger, delete, Raw(), line.now) == [Count("duplicate", ("delete",))]


def test_an_ended_job_is_deleted_without_another_completion_and_a_stranger_deletes_nothing() -> None:
    line = Line()
    line.submit(PROMPT.model_copy(update={"size": "63x64"}))
    assert line.ledger.jobs[line.job].status is JobStatus.FAILED
    [letter] = intake.delete(line.ledger, DeleteRequested(job=line.job, tenant="other"), Raw(b"raw"), line.now)
    assert isinstance(letter, DeadLetter)
    assert intake.delete(line.ledger, DeleteRequested(job=line.job), Raw(), line.now) == []
    assert line.ledger.jobs[line.job].status is JobStatus.DELETED
