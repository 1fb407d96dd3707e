"""The coordinator's pure core: a job through the line, and what happens when things go wrong."""

from __future__ import annotations

from schemas.errors import ErrorKind
from schemas.events.completions import JobCompleted, JobFailed
from schemas.events.reports import InputMissing, Started
from schemas.events.tasks import Task
from schemas.job import JobStatus
from schemas.stage import STAGES, Stage
from schemas.stage_keys import job_id
from streams.coordinator.core import placement
from streams.coordinator.core.effects import Count, DeadLetter, Send
from tests.sim.played_line import PROMPT, Line, done, ends, failed, names


def test_a_job_goes_through_four_stages_to_one_completion() -> None:
    line = Line()
    line.submit()
    line.beat("w")
    seen, completions = [], []
    for _ in STAGES:
        task = line.task()
        seen.append(task.stage)
        line.report(Started(**names(task)))
        completions += ends(line.report(done(task)))
        completions += ends(line.report(done(task)))
    assert seen == list(STAGES)
    assert [type(event) for event in completions] == [JobCompleted]
    assert line.ledger.jobs[line.job].status is JobStatus.COMPLETED


def test_a_replayed_prompt_is_a_no_op_and_another_body_a_conflict() -> None:
    line = Line()
    line.submit()
    assert line.submit() == [Count("duplicate", ("prompt",))]
    [letter] = line.submit(PROMPT.model_copy(update={"seed": 1}))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.value) == ("id_conflict", b"raw")


def test_an_impossible_prompt_ends_in_one_failure_that_names_the_field() -> None:
    line = Line()
    [event] = ends(line.submit(PROMPT.model_copy(update={"num_frames": 18})))
    assert isinstance(event, JobFailed)
    assert (event.error.field, event.error.nearest) == ("num_frames", "17")


def test_bugs_are_tried_twice_and_dead_lettered_infrastructure_is_tried_for_ever() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    for _ in range(7):
        assert ends(line.report(failed(line.task(), ErrorKind.INFRASTRUCTURE))) == []
        line.now += 60
    line.report(failed(line.task(), ErrorKind.BUG))
    assert placement.place(line.ledger, line.now) == []
    line.now += 60
    effects = line.report(failed(line.task(), ErrorKind.BUG))
    assert [type(event) for event in ends(effects)] == [JobFailed]
    assert any(isinstance(effect, DeadLetter) for effect in effects)


def test_a_job_that_kills_every_worker_is_stopped_at_the_limit() -> None:
    line = Line()
    line.submit()
    for life in range(line.policy.suspicion_limit + 1):
        line.beat("a", life=life + 1)
        line.report(Started(**names(line.task())))
    effects = line.beat("a", life=9)
    [event] = ends(effects)
    assert isinstance(event, JobFailed)
    assert event.error.code == "poison_job"


def test_a_lost_input_makes_its_stage_run_again_with_the_etag_condemned() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    line.report(done(line.task(), "bad"))
    denoise = line.task()
    line.report(
        InputMissing(
            **names(denoise),
            upstream_stage=Stage.ENCODE,
            upstream_key=denoise.key,
            etag="bad",
            why="gone",
        )
    )
    again = line.task()
    assert (again.stage, again.condemned_etag) == (Stage.ENCODE, "bad")
    assert line.report(done(again, "bad"))[0] == Count("duplicate", ("outcome",))


def test_a_dropped_overlay_leaves_no_trace() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    line.ledger.commit()
    first = line.task()
    line.ledger.rollback()
    again = line.task()
    assert (again.lease, again.job) == (first.lease, first.job)


def test_jobs_of_one_batch_start_in_the_order_in_which_they_came() -> None:
    line = Line()
    for number in range(20):
        line.submit(PROMPT.model_copy(update={"idempotency_key": str(number)}))
    line.beat("a", slots=20)
    placed = [e.event for e in placement.place(line.ledger, line.now) if isinstance(e, Send)]
    wanted = [job_id(PROMPT.tenant, str(number)) for number in range(20)]
    assert [event.job for event in placed if isinstance(event, Task)] == wanted
