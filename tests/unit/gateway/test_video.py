"""What clients are told of a job: percents, words, why it failed, how long it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dependencies import Gateway
from gateway.read_model.eta import EtaEstimator
from gateway.read_model.read_model import ReadModel
from gateway.read_model.rows import Row
from gateway.video import video_of
from schemas.errors import ErrorKind, ErrorReport
from schemas.job import Attempt, JobState, JobStatus
from schemas.job_progress import percent_of_state, percent_of_step
from schemas.stage import STAGES, Stage
from schemas.video import status_of
from tests.unit.gateway.samples import NOW, SOME, asked, job, running, taken, with_done


def test_percents_rise_through_the_stages_and_100_is_the_end() -> None:
    steps = [percent_of_step(stage, step, 10) for stage in STAGES for step in range(11)]
    assert steps == sorted(steps)
    assert (steps[0], max(steps)) == (0, 98)
    states = [percent_of_state(with_done(job(), *STAGES[:count])) for count in range(5)]
    assert states == [0, 3, 90, 96, 98]
    assert percent_of_state(job(status=JobStatus.COMPLETED)) == 100


@given(st.sampled_from(STAGES), st.integers(-5, 10**6), st.integers(-5, 10**6))
def test_no_step_leaves_its_stage(stage: Stage, step: int, steps: int) -> None:
    assert percent_of_step(stage, 0, 1) <= percent_of_step(stage, step, steps) <= percent_of_step(stage, 1, 1)


def test_only_four_words_leave_and_a_job_never_queues_again() -> None:
    begun = with_done(job(), Stage.ENCODE)
    words = {status: status_of(job(status=status)) for status in JobStatus}
    assert set(words.values()) == {"queued", "completed", "failed"}
    assert status_of(begun) == "in_progress"
    assert words[JobStatus.CANCELLED] == words[JobStatus.FAILED] == "failed"


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        (ErrorKind.INVALID_JOB, "invalid_value", "invalid_input"),
        (ErrorKind.RESOURCE, "gpu_out_of_memory", "gpu_out_of_memory"),
        (ErrorKind.BUG, "no_video", "internal_error"),
    ],
)
def test_why_a_job_failed(kind: ErrorKind, code: str, said: str) -> None:
    report = ErrorReport(kind=kind, code=code, message="m", field="size")
    model = ReadModel("sqlite://")
    video = video_of(Row(job(status=JobStatus.FAILED, error=report, ended_at=NOW), 3, 40), model, EtaEstimator())
    assert video.error is not None
    assert (video.status, video.progress, video.error.code, video.completed_at) == ("failed", 40, said, int(NOW))
    model.close()


def test_the_time_left_is_learned_from_completed_jobs() -> None:
    pace, waiting = EtaEstimator(), with_done(job(), Stage.ENCODE)
    assert pace.left(Row(waiting, 1)) is None
    for seconds in (1.0, 2.0, 3.0):
        stages = {stage: record.model_copy(update={"seconds": seconds}) for stage, record in waiting.stages.items()}
        pace.learn(waiting.model_copy(update={"status": JobStatus.COMPLETED, "stages": stages}))
    assert pace.left(Row(waiting, 1)) == (6.0, 8.4)
    assert pace.left(Row(waiting, 1, step=5, steps=10)) == (5.0, 7.0)


def test_the_timeline_tells_every_attempt(gateway: Gateway) -> None:
    lost = Attempt(
        stage=Stage.DENOISE, lease=3, worker="w", outcome="lost", dispatched_at=NOW + 1, ended_at=NOW + 9, seconds=7.0
    )
    taken(gateway.model, running(job(attempts=(lost,))))
    moments = asked(gateway, "GET", f"{SOME}/timeline").json()["data"]
    assert [moment["what"] for moment in moments] == ["accepted", "dispatched", "lost", "dispatched"]
    video = asked(gateway, "GET", SOME)
    assert 1000 <= int(video.headers["openai-poll-after-ms"]) <= 10_000


def test_the_time_left_is_also_told_by_the_steps_of_the_job_itself() -> None:
    pace, state = EtaEstimator(), running(with_done(job(), Stage.ENCODE))
    assert pace.left(Row(state, 1, step=4, steps=10)) is None
    assert pace.left(Row(state, 1, step=4, steps=10, step_seconds=0.5)) == (3.0, 3.0)
    stages = {stage: record.model_copy(update={"seconds": 2.0}) for stage, record in state.stages.items()}
    pace.learn(state.model_copy(update={"status": JobStatus.COMPLETED, "stages": stages}))
    assert pace.left(Row(state, 1, step=4, steps=10, step_seconds=0.5)) == (5.2, 7.0)


def test_words_that_the_model_does_not_know_are_named(gateway: Gateway) -> None:
    bundle = gateway.bundles["tiny"]
    recipe = job().recipe
    assert recipe is not None
    maroon = recipe.replace(prompt="a maroon circle", revision=bundle.revision)
    state = job().replace(recipe=maroon)

    def warned(state: JobState) -> list[str]:
        return video_of(Row(state, 0), gateway.model, EtaEstimator(), gateway.bundles).x_latentline.warnings

    [warning] = warned(state)
    assert warning.startswith('prompt: tiny does not know "maroon"')
    assert warned(state.replace(recipe=maroon.replace(prompt="a red circle"))) == []
    assert warned(state.replace(recipe=maroon.replace(revision="of other weights"))) == []
