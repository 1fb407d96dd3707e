"""Two releases side by side: what the last one wrote is taken in, and what it would get wrong it is not given."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from schemas import envelope
from schemas.base import Frozen
from schemas.errors import UnreadableTask
from schemas.events.artifacts import ArtifactRef
from schemas.events.completions import JobCompleted
from schemas.events.reports import Failed
from schemas.events.tasks import Task
from schemas.job import FORMAT, JobState, JobStatus, StateTooNew
from schemas.stage import STAGES, Stage
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Effect
from streams.coordinator.core.state.tombstone import read_record
from streams.kafka.topics import REPORTS
from tests.contract import golden
from tests.contract.examples import RECIPE, TILING
from tests.sim.played_line import Line, done, ends, names


def said_by_the_last_release(event: str, **values: Any) -> Record:
    """A record with the fields that this event had when its golden file was written, and other values."""
    name = f"latentline.{event}.v1"
    fields = orjson.loads(golden.value(name))
    return Record(REPORTS.name, 0, 0, orjson.dumps(fields | values), golden.headers(name))


def tell(line: Line, event: str, **values: Any) -> list[Effect]:
    return dispatch.take(line.ledger, line.policy, said_by_the_last_release(event, **values), line.now)


def plain(event: Frozen) -> dict[str, Any]:
    values: dict[str, Any] = event.model_dump(mode="json")
    return values


def test_a_worker_of_the_last_release_takes_a_job_through_this_core() -> None:
    line = Line()
    line.submit()
    inboxes = [{"stage": stage, "partition": 3, "echo": 0} for stage in STAGES]
    tell(line, "heartbeat", leases=[], inboxes=inboxes, draining=False, leaving=False, slots=1)
    end: list[object] = []
    for stage in STAGES:
        task = line.task()
        assert task.stage is stage
        outcome = plain(done(task))
        about = {name: outcome[name] for name in ("incarnation", "worker", "lease", "job", "stage", "key")}
        tell(line, "started", **about)
        result = {name: outcome[name] for name in ("artifact", "objects")}
        end += ends(tell(line, "done", **about, **result, resumed_from_step=None))
    assert [type(event) for event in end] == [JobCompleted]


def read_by_the_last_release(task: Task) -> Task:
    """What it makes of our task: it has never heard of the fields that its golden record lacks."""
    known = orjson.loads(golden.value("latentline.task.v1"))
    values = {name: value for name, value in orjson.loads(task.to_bytes()).items() if name in known}
    values["recipe"] = {name: value for name, value in values["recipe"].items() if name in known["recipe"]}
    return Task.read(values)


def task_for(**changes: Any) -> Task:
    recipe = RECIPE.model_copy(update=changes)
    return Task(
        incarnation="w-1", lease=1, job="video_1", tenant="acme", stage=Stage.DECODE, key="k", recipe=recipe, attempt=1,
        recipe_digest=recipe.digest,
    )  # fmt: skip


def test_a_task_of_this_release_is_read_by_the_last_one() -> None:
    task = task_for()
    assert read_by_the_last_release(task) == task.model_copy(update={"recipe_digest": None})


def test_a_setting_that_a_worker_has_never_heard_of_is_noticed() -> None:
    """It would compute something else under the same key. From this release on it says so instead."""
    task = task_for(vae_tiling=TILING)
    assert task.is_whole
    values = orjson.loads(task.to_bytes())
    values["recipe"]["of_a_later_release"] = {"strength": 2}
    values["recipe_digest"] = "another"
    assert not Task.read(values).is_whole
    assert not read_by_the_last_release(task).model_copy(update={"recipe_digest": task.recipe_digest}).is_whole


def test_a_task_that_a_worker_is_too_old_for_goes_to_another() -> None:
    line = Line()
    line.submit()
    line.beat("a")
    line.beat("b")
    task = line.task()
    line.report(Failed(**names(task), error=UnreadableTask("newer").report()))
    line.now += 60
    assert line.task().incarnation != task.incarnation


# -- the truth about a job -----------------------------------------------------------------------------------------


def test_a_state_of_the_last_release_is_carried_on() -> None:
    event, _ = envelope.read(golden.value("latentline.job_state.v1"), golden.headers("latentline.job_state.v1"))
    assert isinstance(event, JobState)
    assert event.format == 1
    state = event.migrated
    assert state == event.model_copy(update={"format": FORMAT})
    line = Line()
    waiting = state.model_copy(update={"status": JobStatus.WAITING, "lease": None, "ended_at": None})
    encoded = waiting.stages[Stage.DENOISE].model_copy(update={
        "artifact": ArtifactRef(stage=Stage.ENCODE, key="e", manifest_key="m", etag="e"), "not_before": 0.0,
        "suspicions": 0,
    })  # fmt: skip
    stages = {Stage.ENCODE: encoded, Stage.DENOISE: encoded.model_copy(update={"artifact": None})}
    line.ledger.load(state.job, waiting.model_copy(update={"stages": stages}))
    line.ledger.rebuild_queues()
    line.beat("a")
    task = line.task()
    assert (task.job, task.stage, task.recipe) == (state.job, Stage.DENOISE, state.recipe)
    assert line.ledger.jobs[state.job].format == FORMAT


def test_a_state_of_a_newer_release_is_refused_and_says_what_to_do() -> None:
    state = JobState.read(golden.value("latentline.job_state.v1")).model_copy(update={"format": FORMAT + 1})
    with pytest.raises(StateTooNew, match=f"has format {FORMAT + 1}.* up to {FORMAT}.*run that one again"):
        _ = state.migrated


def test_a_short_read_of_such_a_state_refuses_it_too() -> None:
    state = JobState.read(golden.value("latentline.job_state.v1")).model_copy(update={"format": FORMAT + 1})
    with pytest.raises(StateTooNew, match=f"has format {FORMAT + 1}.* up to {FORMAT}"):
        read_record(state.to_bytes())
