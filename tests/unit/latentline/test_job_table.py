"""What a person sees of jobs, without Kafka and without a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from latentline import display
from latentline.job_table import Board, Row, row_of
from latentline.summary import Summary, worked
from latentline.timeline import timeline
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.artifacts import ObjectRef
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed, StageSummary
from schemas.events.progress import StepProgress
from schemas.job import Attempt, JobState, JobStatus, Lease, StageState
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage
from streams.client.updates import Changed, Ended, Stepped, status_of

BEGIN = 1_800_000_000.0
JOB = "video_" + "3fa1b2c4" * 4
RECIPE = Recipe(
    model="tiny", revision="r", prompt="a red circle", negative_prompt="", seed=1, width=64, height=64, num_frames=17,
    fps=8, num_inference_steps=12, guidance_scale=3.0, scheduler="unipc", flow_shift=3.0, max_sequence_length=16,
)  # fmt: skip
ERROR = ErrorReport(kind=ErrorKind.RESOURCE, code="gpu_out_of_memory", message="no memory")
VIDEO = ObjectRef(name="video", key="videos/v.mp4", size=6700, sha256="0" * 64)


def state(status: JobStatus = JobStatus.WAITING, stage: Stage | None = Stage.ENCODE, **fields: Any) -> JobState:
    stages = {each: StageState(key="k") for each in STAGES}
    base: dict[str, Any] = {
        "job": JOB, "tenant": "acme", "version": 1, "status": status, "body_digest": "b", "accepted_at": BEGIN,
        "updated_at": BEGIN, "recipe": RECIPE, "stage": stage, "stages": stages,
    }  # fmt: skip
    return JobState(**base | fields)


def running(lease: int, stage: Stage = Stage.DENOISE, worker: str = "denoise-2") -> JobState:
    held = Lease(
        number=lease, incarnation="i", worker=worker, stage=stage, partition=0, dispatched_at=BEGIN + 1,
        started_at=BEGIN + 1,
    )  # fmt: skip
    return state(JobStatus.RUNNING, stage, lease=held)


def step(number: int, lease: int = 7, stage: Stage = Stage.DENOISE) -> Stepped:
    return Stepped(StepProgress(job=JOB, tenant="acme", stage=stage, lease=lease, step=number, steps=12))


def completion(kind: type[JobCompleted | JobFailed | JobCancelled] = JobCompleted, **fields: Any) -> Any:
    more: dict[type, dict[str, Any]] = {
        JobCompleted: {"video": VIDEO, "seconds": 2.1, "bucket": "b"},
        JobFailed: {"error": ERROR},
        JobCancelled: {"reason": "enough"},
    }
    shared = {"job": JOB, "tenant": "acme", "accepted_at": BEGIN, "ended_at": BEGIN + 6, "recipe": RECIPE}
    return kind(**shared | more[kind] | fields)


def end(kind: type[JobCompleted | JobFailed | JobCancelled] = JobCompleted) -> Ended:
    event = completion(kind)
    return Ended(JOB, status_of(event), event)


# -- rows ------------------------------------------------------------------------------------------------------


def test_a_job_is_shown_from_before_its_acceptance_to_its_end() -> None:
    board = Board()
    board.expect(JOB, "a red circle", BEGIN)
    seen = [board.rows[JOB].what]
    for update in (Changed(state()), Changed(running(7)), step(3), end()):
        row = board.take(update)
        assert row is not None
        seen.append(row.what)
    assert seen == ["submitted", "waits for encode", "denoise", "denoise", "completed"]
    assert board.rows[JOB].elapsed(BEGIN + 99) == 6
    assert board.rows[JOB].short_id == "video_3fa1b2c4"


def test_only_the_progress_of_the_lease_that_runs_is_shown() -> None:
    board = Board()
    board.take(Changed(running(7)))
    assert board.take(step(3)) is not None
    assert board.take(step(9, lease=6)) is None
    assert board.take(step(2)) is None
    board.take(Changed(running(7)))
    assert (board.rows[JOB].step, board.rows[JOB].steps) == (3, 12)
    board.take(Changed(running(8)))
    assert board.rows[JOB].step == 0


def test_nothing_moves_a_job_that_has_ended() -> None:
    board = Board()
    board.take(Changed(running(7)))
    board.take(end())
    assert board.take(step(9)) is None
    assert board.rows[JOB].what == "completed"


@pytest.mark.parametrize(
    ("kind", "note"), [(JobFailed, "gpu_out_of_memory: no memory"), (JobCancelled, "enough"), (JobCompleted, "")]
)
def test_the_end_says_why(kind: type[JobCompleted | JobFailed | JobCancelled], note: str) -> None:
    board = Board()
    board.take(Changed(running(7)))
    row = board.take(end(kind))
    assert row is not None
    assert row.note == note


def test_a_job_that_failed_and_waits_says_what_went_wrong() -> None:
    lost = Attempt(stage=Stage.DENOISE, lease=7, worker="w", outcome="lost", dispatched_at=BEGIN, ended_at=BEGIN + 8)
    failed = replace_attempt(lost, outcome="failed", error=ERROR)
    assert row_of(state(stage=Stage.DENOISE, attempts=(lost,))).note == "denoise lost on w"
    assert row_of(state(stage=Stage.DENOISE, attempts=(failed,))).note.endswith("gpu_out_of_memory: no memory")
    assert row_of(state(stage=Stage.DECODE, attempts=(lost,))).note == ""


def replace_attempt(attempt: Attempt, **changes: Any) -> Attempt:
    return attempt.model_copy(update=changes)


def test_when_not_all_fit_those_that_move_are_shown() -> None:
    rows = [
        Row("video_ended", BEGIN, status=JobStatus.COMPLETED),
        Row("video_waits", BEGIN, status=JobStatus.WAITING),
        Row("video_runs", BEGIN, status=JobStatus.RUNNING),
    ]
    board = Board({row.job: row for row in rows})
    assert board.visible(3) == rows
    assert [row.job for row in board.visible(2)] == ["video_runs", "video_waits"]
    assert board.counts() == {"completed": 1, "waiting": 1, "running": 1}


def test_a_plain_line_names_job_place_prompt_and_worker() -> None:
    row = replace(row_of(running(7)), step=3, steps=12)
    assert display.plain_line(row, BEGIN + 2.14) == (
        "   2.1 s  video_3fa1b2c4  denoise            a red circle  (on denoise-2)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (5 * 86400, "5 d")]
)
def test_ages_are_one_number(seconds: float, text: str) -> None:
    assert display.ago(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(812, "812 B"), (6700, "6.7 KB"), (3_200_000, "3.2 MB")])
def test_sizes_are_one_number(size: int, text: str) -> None:
    assert display.size_text(size) == text


# -- timeline --------------------------------------------------------------------------------------------------


def test_the_timeline_tells_attempts_in_order_and_the_end() -> None:
    lost = Attempt(
        stage=Stage.DENOISE, lease=7, worker="denoise", outcome="lost", dispatched_at=BEGIN + 1, ended_at=BEGIN + 9
    )
    done = replace_attempt(
        lost, lease=8, worker="denoise-2", outcome="done", dispatched_at=BEGIN + 9, ended_at=BEGIN + 12, seconds=2.5
    )
    stages = {Stage.DENOISE: StageState(key="k", resumed_from_step=5)}
    ended = state(JobStatus.COMPLETED, None, attempts=(lost, done), stages=stages, ended_at=BEGIN + 13)
    told = [(moment.after, moment.what, moment.outcome, moment.worker, moment.note) for moment in timeline(ended)]
    assert told == [
        (0, "accepted", "", "", ""),
        (1, "denoise", "lost", "denoise", ""),
        (9, "denoise", "done", "denoise-2", "went on from step 5"),
        (13, "completed", "", "", ""),
    ]


def test_the_timeline_of_a_job_on_its_way_ends_with_what_it_does_now() -> None:
    assert [moment.outcome for moment in timeline(running(7))] == ["", "runs"]
    waits = timeline(state(stages={Stage.ENCODE: StageState(key="k", waiting_since=BEGIN, not_before=BEGIN + 4)}))[-1]
    assert (waits.what, waits.outcome, waits.note) == ("encode", "waits", "not before +4.0 s")


# -- the demo's end --------------------------------------------------------------------------------------------


def test_the_summary_tells_seconds_waits_attempts_and_verdict() -> None:
    stages = (
        StageSummary(stage=Stage.ENCODE, attempts=0, wait_seconds=0.5, seconds=0.1, reused=True),
        StageSummary(stage=Stage.DENOISE, attempts=2, wait_seconds=1.0, seconds=4.25),
    )
    one = Summary("a red circle", completion(stages=stages), Path("out/1.mp4"), ["shape square"])
    assert [one.of_stage(stage) for stage in STAGES] == ["reused", "4.2 (2 attempts)", "", ""]
    assert (one.wait, one.seconds, one.size, one.verdict) == (1.5, 6.0, 6700, "shape square")


def test_the_demo_worked_if_every_job_has_a_video_and_most_show_what_was_asked() -> None:
    right, wrong = (Summary("p", completion(), Path("1.mp4"), what) for what in ([], ["shape square"]))
    unjudged, failed = Summary("p", completion(), Path("1.mp4")), Summary("p", completion(JobFailed))
    assert worked([right, right, wrong])
    assert worked([unjudged])
    assert not worked([right, wrong, wrong])
    assert not worked([right, failed])
