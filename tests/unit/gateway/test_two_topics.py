"""`jobs` and `progress` come in no order between them: whichever is read first, the answers end the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.read_model.batch import Batch
from gateway.read_model.eta import EtaEstimator
from gateway.read_model.read_model import ReadModel
from gateway.read_model.rows import Row
from gateway.video import video_of
from schemas.events.artifacts import ArtifactRef
from schemas.events.progress import StepProgress
from schemas.events.reports import Done
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import STAGES, Stage
from schemas.video import Video
from streams.coordinator.core import transitions
from streams.coordinator.core.transitions import ended
from tests.unit.gateway.samples import NOW, job, taken

STEPS = 10
ACTS = ("step", "preview", "late", "lose", "done", "done", "miss")
ENDS = {"cancel": JobStatus.CANCELLED, "fail": JobStatus.FAILED}


@dataclass
class Story:
    """What is written to both topics about one job, by the coordinator's own transitions."""

    states: list[JobState] = field(default_factory=lambda: [job()])
    steps: list[StepProgress] = field(default_factory=list)
    leases: int = 0
    done: dict[int, int] = field(default_factory=dict)
    """Steps of each lease."""

    @property
    def now(self) -> JobState:
        return self.states[-1]

    def say(self, state: JobState) -> None:
        self.states.append(state.replace(version=self.now.version + 1))

    def dispatch(self) -> None:
        self.leases += 1
        assert self.now.stage is not None
        lease = Lease(
            number=self.leases, incarnation="i", worker="w", stage=self.now.stage, partition=0, dispatched_at=NOW
        )
        self.say(self.now.replace(**transitions.dispatched(self.now, lease)))

    def step(self, lease: Lease, preview: bool) -> None:
        number = self.done[lease.number] = self.done.get(lease.number, 0) + 1
        self.steps.append(StepProgress(
            job=self.now.job, tenant="default", stage=lease.stage, lease=lease.number, step=min(number, STEPS),
            steps=STEPS, preview_step=number if preview else None,
        ))  # fmt: skip

    def lose(self) -> None:
        assert self.now.stage is not None
        self.say(transitions.wait_for(transitions.lease_ended(self.now, "lost", NOW), self.now.stage, NOW))

    def finish(self, lease: Lease) -> None:
        key = self.now.stages[lease.stage].key
        ref = ArtifactRef(stage=lease.stage, key=key, manifest_key="m", etag="e")
        done = Done(
            incarnation="i", worker="w", lease=lease.number, job=self.now.job, stage=lease.stage, key=key, artifact=ref,
            seconds=1.0,
        )  # fmt: skip
        attempts = transitions.history(self.now, "done", NOW)
        state = self.now.replace(**transitions.accepted_output(self.now, done, attempts, NOW, None))
        self.say(state if lease.stage.downstream else ended(state, JobStatus.COMPLETED, NOW))

    def miss(self, lease: Lease) -> None:
        """The input of the stage is gone: the stage before it runs again."""
        before = STAGES[max(STAGES.index(lease.stage) - 1, 0)]
        state = transitions.lease_ended(self.now, "input_lost", NOW)
        self.say(transitions.wait_for(transitions.condemn(state, before, "e"), before, NOW))


@st.composite
def stories(draw: st.DrawFn) -> Story:
    story, zombie = Story(), None
    for act in draw(st.lists(st.sampled_from(ACTS), max_size=25)):
        if story.now.status.ended:
            break
        if story.now.lease is None:
            story.dispatch()
        lease = story.now.lease
        assert lease is not None
        match act:
            case "step" | "preview":
                story.step(lease, act == "preview")
            case "late":
                story.step(zombie or lease, False)
            case "lose":
                story.lose()
            case "done":
                story.finish(lease)
            case "miss":
                story.miss(lease)
        zombie = lease
    if (end := draw(st.sampled_from(["lives", "lives", *ENDS]))) != "lives" and not story.now.status.ended:
        story.say(ended(transitions.lease_ended(story.now, end, NOW), ENDS[end], NOW))
    for _ in range(draw(st.integers(0, 3))):
        if zombie is not None:
            story.step(zombie, False)
    return story


def told(model: ReadModel, name: str) -> tuple[Row, Video] | None:
    row = model.get("default", name)
    return None if row is None else (row, video_of(row, model, EtaEstimator()))


@settings(deadline=None, derandomize=True)
@given(stories(), st.data())
def test_every_order_ends_in_the_same_answers_progress_never_falls_and_nothing_follows_the_end(
    story: Story, data: st.DataObject
) -> None:
    states, steps, name = [*story.states], [*story.steps], story.now.job
    live, rebuilt = ReadModel("sqlite://"), ReadModel("sqlite://")
    seen: list[tuple[Row, Video]] = []
    while states or steps:
        batch = Batch()
        for _ in range(data.draw(st.integers(1, 3))):
            if states and (not steps or data.draw(st.booleans())):
                state = states.pop(0)
                batch.state(name, state, state.to_bytes())
            elif steps:
                batch.step(steps.pop(0))
        live.take(batch, NOW)
        if (now := told(live, name)) is not None:
            seen.append(now)
    percents = [video.progress for _, video in seen]
    assert percents == sorted(percents)
    final = [now for now in seen if now[0].state.status.ended]
    assert all(now == final[0] for now in final)
    anew = Batch()
    for step in story.steps:
        anew.step(step)
    # `jobs` is compacted.
    anew.state(name, story.now, story.now.to_bytes())
    rebuilt.take(anew, NOW)
    assert told(rebuilt, name) == seen[-1]
    live.close()
    rebuilt.close()


@pytest.mark.parametrize(
    ("status", "percent"), [(JobStatus.CANCELLED, 96), (JobStatus.FAILED, 96), (JobStatus.COMPLETED, 100)]
)
def test_a_job_without_a_video_stands_where_its_last_stage_ends(
    model: ReadModel, status: JobStatus, percent: int
) -> None:
    story = Story()
    for _ in (Stage.ENCODE, Stage.DENOISE):
        story.dispatch()
        assert story.now.lease is not None
        story.finish(story.now.lease)
    story.dispatch()
    taken(model, ended(story.now, status, NOW))
    row = model.get("default", story.now.job)
    assert row is not None
    assert row.percent == percent
