"""The fold gives one view, whatever the order of events and however often each is seen."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ErrorKind, ErrorReport
from schemas.events.artifacts import ObjectRef
from schemas.events.completions import Completion, JobCancelled, JobCompleted, JobFailed, StageSummary
from schemas.events.usage import UsageWindow
from schemas.job import JobState, JobStatus, StageState
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage
from streams.usage import pages
from streams.usage.reducers import (
    KEPT_SECONDS,
    WINDOW_SECONDS,
    Usage,
    ended_of_completion,
    ended_of_state,
    horizon_of,
    window_start,
)

BEGIN = 1_800_000_000.0
RECIPE = Recipe(
    model="tiny", revision="r", prompt="a red circle", negative_prompt="", seed=1, width=64, height=64, num_frames=17,
    fps=8, num_inference_steps=8, guidance_scale=3.0, scheduler="unipc", flow_shift=3.0, max_sequence_length=32,
)  # fmt: skip
VIDEO = ObjectRef(name="video", key="videos/v.mp4", size=1, sha256="0" * 64)
ERROR = ErrorReport(kind=ErrorKind.BUG, code="internal_error", message="it broke")


def waiting(job: str, version: int, tenant: str = "acme", stage: Stage = Stage.ENCODE) -> JobState:
    return JobState(
        job=job, tenant=tenant, version=version, status=JobStatus.WAITING, body_digest="b", accepted_at=BEGIN,
        updated_at=BEGIN + version, recipe=RECIPE, stage=stage,
    )  # fmt: skip


def ended_state(job: str, outcome: JobStatus, at: float, tenant: str = "acme", seconds: float = 0.1) -> JobState:
    record = StageState(
        key="k", dispatches=2, seconds=seconds, wasted_seconds=0.3, wait_seconds=0.05, worker="w", reused=False
    )
    return JobState(
        job=job, tenant=tenant, version=9, status=outcome, body_digest="b", accepted_at=BEGIN, updated_at=at,
        ended_at=at, recipe=RECIPE, stage=None, stages=dict.fromkeys(STAGES, record),
    )  # fmt: skip


def completion_of(state: JobState) -> Completion:
    """The completion that the coordinator sends beside a terminal state."""
    shared: dict[str, Any] = {
        "job": state.job, "tenant": state.tenant, "accepted_at": state.accepted_at, "ended_at": state.ended_at,
        "recipe": state.recipe,
        "stages": tuple(
            StageSummary(
                stage=stage, attempts=of.dispatches, wait_seconds=of.wait_seconds, seconds=of.seconds,
                wasted_seconds=of.wasted_seconds, reused=of.reused,
            )
            for stage, of in state.stages.items()
        ),
    }  # fmt: skip
    if state.status is JobStatus.COMPLETED:
        return JobCompleted(**shared, video=VIDEO, seconds=RECIPE.seconds, bucket="latentline")
    if state.status is JobStatus.FAILED:
        return JobFailed(**shared, error=ERROR)
    return JobCancelled(**shared, reason="asked")


def take(view: Usage, event: JobState | Completion) -> object:
    return view.take_state(event.job, event) if isinstance(event, JobState) else view.take_completion(event)


ENDS = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


@pytest.mark.parametrize("outcome", ENDS)
def test_both_topics_tell_the_same_end(outcome: JobStatus) -> None:
    state = ended_state("video_1", outcome, BEGIN)
    assert ended_of_state(state) == ended_of_completion(completion_of(state))


def test_a_completed_job_in_numbers() -> None:
    view = Usage()
    changed = view.take_completion(completion_of(ended_state("video_1", JobStatus.COMPLETED, BEGIN + 5)))
    start = window_start(BEGIN + 5)
    assert changed == ("acme", start)
    assert view.tenants["acme", start].event("acme", start) == UsageWindow(
        tenant="acme", window_start=start, window_seconds=WINDOW_SECONDS, jobs={"completed": 1},
        video_seconds=RECIPE.seconds, compute_seconds={"encode": 0.1, "denoise": 0.1, "decode": 0.1, "mux": 0.1},
    )  # fmt: skip
    denoise = view.stages[Stage.DENOISE, start]
    assert (denoise.attempts, denoise.compute_ms, denoise.wasted_ms, denoise.wait_ms) == (2, 100, 300, 50)


def test_only_a_completed_job_has_made_video() -> None:
    view = Usage()
    for number, outcome in enumerate(ENDS[1:]):
        view.take_state(f"video_{number}", ended_state(f"video_{number}", outcome, BEGIN))
    (window,) = view.tenants.values()
    assert (dict(window.jobs), window.video_ms) == ({"failed": 1, "cancelled": 1}, 0)


def test_a_job_counts_once_though_both_topics_and_replays_tell_of_it() -> None:
    view = Usage()
    state = ended_state("video_1", JobStatus.COMPLETED, BEGIN)
    changes = [take(view, event) for event in (completion_of(state), state, completion_of(state), state)]
    assert changes == [("acme", window_start(BEGIN)), None, None, None]
    assert [window.jobs.total() for window in view.tenants.values()] == [1]


def test_the_highest_version_wins_and_the_end_absorbs() -> None:
    view = Usage()
    view.take_state("video_1", waiting("video_1", 3, stage=Stage.DECODE))
    view.take_state("video_1", waiting("video_1", 2, stage=Stage.DENOISE))
    assert view.active["video_1"].stage is Stage.DECODE
    view.take_completion(completion_of(ended_state("video_1", JobStatus.FAILED, BEGIN)))
    view.take_state("video_1", waiting("video_1", 4))
    assert view.active == {}


def test_a_cancel_that_waits_for_its_prompt_is_no_job() -> None:
    view = Usage()
    wish = ended_state("video_1", JobStatus.CANCELLED, BEGIN).model_copy(update={"body_digest": ""})
    assert view.take_state("video_1", wish) is None
    assert (view.active, view.ended) == ({}, {})


def test_a_tombstone_takes_an_active_job_away_and_leaves_usage_alone() -> None:
    view = Usage()
    view.take_state("video_1", waiting("video_1", 1))
    view.take_state("video_2", ended_state("video_2", JobStatus.COMPLETED, BEGIN))
    for job in ("video_1", "video_2", "video_3"):
        view.take_state(job, None)
    assert view.active == {}
    assert [window.jobs.total() for window in view.tenants.values()] == [1]


def test_windows_tumble_by_the_end_of_the_job() -> None:
    view = Usage()
    for number, at in enumerate((BEGIN, BEGIN + WINDOW_SECONDS - 1, BEGIN + WINDOW_SECONDS)):
        view.take_state(f"video_{number}", ended_state(f"video_{number}", JobStatus.COMPLETED, at))
    assert window_start(BEGIN) == BEGIN
    assert {start: window.jobs.total() for (_, start), window in view.tenants.items()} == {
        BEGIN: 2,
        BEGIN + WINDOW_SECONDS: 1,
    }


def test_what_is_older_than_the_horizon_is_let_go_and_stays_gone() -> None:
    now = BEGIN + KEPT_SECONDS + WINDOW_SECONDS
    old, kept = ended_state("video_1", JobStatus.COMPLETED, BEGIN), ended_state("video_2", JobStatus.COMPLETED, now)
    view = Usage()
    for event in (old, kept):
        take(view, event)
    view.forget(horizon_of(now))
    assert view.take_state(old.job, old, horizon_of(now)) is None
    rebuilt = Usage()
    for event in (old, kept):
        rebuilt.take_state(event.job, event, horizon_of(now))
    assert view == rebuilt
    assert set(view.ended) == {"video_2"}
    assert now - min(start for _, start in view.tenants) <= KEPT_SECONDS


JOBS = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex"]),
        st.sampled_from([*ENDS, None]),
        st.floats(0, 3 * WINDOW_SECONDS),
        st.floats(0, 100),
    ),
    min_size=1,
    max_size=5,
)


@given(jobs=JOBS, data=st.data())
def test_any_order_and_any_repetition_give_the_same_view(jobs: list[Any], data: st.DataObject) -> None:
    events: list[JobState | Completion] = []
    for number, (tenant, outcome, after, seconds) in enumerate(jobs):
        job = f"video_{number}"
        events += [waiting(job, 1, tenant), waiting(job, 2, tenant, Stage.DENOISE)]
        if outcome is not None:
            state = ended_state(job, outcome, BEGIN + after, tenant, seconds)
            events += [state, completion_of(state)]
    straight, shuffled = Usage(), Usage()
    again = data.draw(st.lists(st.sampled_from(events), max_size=10))
    for event in events:
        take(straight, event)
    for event in data.draw(st.permutations(events + again)):
        take(shuffled, event)
    assert pages.usage(shuffled) == pages.usage(straight)
    assert pages.stages(shuffled) == pages.stages(straight)
    assert sum(window.jobs.total() for window in shuffled.tenants.values()) == sum(bool(job[1]) for job in jobs)


def test_pages_show_windows_newest_first_and_what_runs_now() -> None:
    view = Usage()
    for number, hours in enumerate((0, 2, 1)):
        state = ended_state(f"video_{number}", JobStatus.COMPLETED, BEGIN + hours * WINDOW_SECONDS)
        view.take_state(state.job, state)
    view.take_state("video_9", waiting("video_9", 1, "globex", Stage.DECODE))
    acme, globex = pages.usage(view)["tenants"]
    starts = [window["window_start"] for window in acme["windows"]]
    assert starts == [BEGIN + 2 * WINDOW_SECONDS, BEGIN + WINDOW_SECONDS, BEGIN]
    assert pages.tenant(view, "acme") == acme
    assert globex == {"tenant": "globex", "now": {"waiting": 1, "running": 0}, "windows": []}
    stages = {page["stage"]: page for page in pages.stages(view)["stages"]}
    assert stages["decode"]["now"] == {"waiting": 1, "running": 0}
    assert [window["window_start"] for window in stages["mux"]["windows"]] == starts
    assert pages.tenant(view, "nobody") == {"tenant": "nobody", "now": {"waiting": 0, "running": 0}, "windows": []}


def test_sums_do_not_depend_on_order() -> None:
    seconds = (0.1, 0.2, 0.3, 1e6, 1e-3)
    sums = set()
    for order in itertools.permutations(seconds):
        view = Usage()
        for number, spent in enumerate(order):
            view.take_state(f"video_{number}", ended_state(f"video_{number}", JobStatus.FAILED, BEGIN, seconds=spent))
        sums.add(next(iter(view.tenants.values())).compute_ms[Stage.ENCODE])
    assert sums == {1_000_000_601}
