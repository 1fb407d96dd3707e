"""The audit of `jobs`: it names a state, or an order of states, that cannot be."""

from __future__ import annotations

import pytest

from operations.audit import objects
from operations.audit.completions import check_completions
from operations.audit.jobs import ATTEMPTS_KEPT, check_state, compute_of
from operations.audit.objects import StoreListing
from operations.audit.prompts import Letters, check_prompt
from schemas.events.prompts import DeleteRequested
from schemas.job import JobState, JobStatus, Lease, StageState
from schemas.stage import Stage
from streams.coordinator.core.transitions import deleted
from tests.unit.operations.audit.samples import JOB, NOW, attempt, completion, job, log_of, prompt_of, said, waiting

LEASE = Lease(number=7, incarnation="w.1", worker="w", stage=Stage.MUX, partition=0, dispatched_at=NOW)


def test_versions_rise_and_an_end_is_final() -> None:
    assert said(log_of(job(version=1), job(version=1)).violations) == [
        "version 1 comes after version 1", "it was completed and is completed afterwards"
    ]  # fmt: skip
    assert said(log_of(waiting(version=1), job(version=2)).violations) == []


def test_a_lease_number_is_one_dispatch_in_the_whole_cell() -> None:
    other = job(job="video_other", attempts=(attempt(7, worker="x"),))
    assert [violation.promise for violation in log_of(job(), other).violations] == ["lease is one dispatch"]


def test_a_forgotten_job_is_known() -> None:
    log = log_of(job())
    log.take(JOB, None)
    assert log.knows(JOB)
    assert not log.latest


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (job(lease=LEASE, attempts=()), "it has ended and holds lease 7"),
        (waiting(lease=LEASE), "it is waiting with lease"),
        (waiting().model_copy(update={"status": JobStatus.RUNNING}), "it is running with lease None"),
        (waiting().model_copy(update={"status": JobStatus.UNKNOWN}), "its status is unknown"),
        (waiting(stage=None), "it is waiting for no stage of its own"),
        (job(attempts=(attempt(7, "failed"), attempt(6))), "lease 6 comes after lease 7"),
        (job(attempts=(attempt(7, "failed"), attempt(7))), "lease 7 comes after lease 7"),
        (job(attempts=(attempt(6, "lost", 3.0), attempt(7))), "mux says 0.000 s were wasted, its attempts say 3.000 s"),
    ],
)
def test_a_state_that_cannot_be(state: JobState, message: str) -> None:
    [violation] = check_state(state)
    assert violation.message.startswith(message)
    assert violation.subject == JOB


def test_what_happens_to_a_healthy_job_is_no_breach() -> None:
    taken_back = job(attempts=(attempt(6, "lost"), attempt(7, "cancelled"), attempt(6)))
    cut = job(attempts=tuple(attempt(number, "preempted") for number in range(ATTEMPTS_KEPT)))
    for state in (job(), waiting(), taken_back, cut, job(status=JobStatus.RUNNING, lease=LEASE, attempts=())):
        assert said(check_state(state)) == []


def test_only_a_deletion_follows_an_end_and_it_leaves_nothing_to_be_missed() -> None:
    gone = deleted(job(version=10, attempts=(attempt(6, "failed", 3.0), attempt(7))), NOW)
    log = log_of(job(), gone)
    assert said(log.violations) == []
    assert [*check_state(gone)] == []
    assert [*check_completions({JOB}, log, {JOB: [completion(job())]}, NOW)] == []
    assert [*objects.check_references(gone, StoreListing())] == []
    assert [*check_prompt(prompt_of(DeleteRequested(job=JOB, tenant="acme")), log, Letters())] == []
    unknown = prompt_of(DeleteRequested(job="video_" + "0" * 32))
    assert [*check_prompt(unknown, log, Letters())] == [], "there is nothing to delete"


def test_compute_by_how_it_ended() -> None:
    stages = {Stage.MUX: StageState(key="key", seconds=2.0, wasted_seconds=5.0)}
    state = job(stages=stages, attempts=(attempt(5, "lost", 3.0), attempt(6, "failed", 1.5), attempt(7)))
    assert compute_of([state]).useful == 2.0
    assert compute_of([state]).wasted == {"lost": 3.0, "failed": 1.5, "earlier": 0.5}
