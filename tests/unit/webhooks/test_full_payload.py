"""Full payloads: what an endpoint is sent is what the gateway would answer."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from schemas.errors import ErrorKind, ErrorReport
from schemas.events.artifacts import ObjectRef
from schemas.events.completions import Completion, JobCancelled, JobCompleted, JobFailed
from schemas.job import JobState, JobStatus
from schemas.job_progress import percent_of_state
from schemas.stage import STAGES, Stage
from schemas.video import Live, Video, video_of
from schemas.webhooks import CANCELLED, COMPLETED, EVENT_TYPES, FAILED, FULL, PROGRESS, STARTED, DeliveryRequested
from streams.coordinator.core.completion import shared
from tests.unit.gateway.samples import NOW, job, running, step_of, with_done
from tests.unit.webhooks.samples import ENDPOINT, apply, changed, knowing
from webhooks.delivery import state as core
from webhooks.delivery.full_payload import full_video
from webhooks.delivery.http import Answer
from webhooks.delivery.payload import Deletion, JobEvent, end_of, start_of
from webhooks.delivery.progress_source import Running

WHOLE = changed(ENDPOINT, tenant="default", event_types=EVENT_TYPES, payload=FULL)
ERROR = ErrorReport(kind=ErrorKind.RESOURCE, code="gpu_out_of_memory", message="too large")
FILES = {
    name: ObjectRef(name=name, key=name, size=1, sha256="ab" * 32, media_type=kind)
    for name, kind in (("video", "video/mp4"), ("poster", "image/webp"), ("spritesheet", "image/jpeg"))
}


def ended(state: JobState, status: JobStatus, **fields: Any) -> JobState:
    """As the coordinator leaves it."""
    return state.model_copy(update={"status": status, "ended_at": NOW + 9, "lease": None, **fields})


def ends() -> list[tuple[JobState, Completion]]:
    """Last states, and the completions that the coordinator makes of them."""
    done = ended(with_done(job(), *STAGES), JobStatus.COMPLETED, stage=Stage.MUX, **FILES)
    failed = ended(with_done(job(1), Stage.ENCODE), JobStatus.FAILED, error=ERROR)
    stopped = ended(job(2, metadata={"order": "17"}), JobStatus.CANCELLED, cancel_reason="changed my mind")
    return [
        (done, JobCompleted(**shared(done), **FILES, seconds=1.0, bucket="b")),
        (failed, JobFailed(**shared(failed), error=ERROR, stage=failed.stage)),
        (stopped, JobCancelled(**shared(stopped), reason="changed my mind", stage=stopped.stage)),
    ]


@pytest.mark.parametrize(("state", "end"), ends(), ids=["completed", "failed", "cancelled"])
def test_an_end_alone_gives_the_video_that_its_state_gives(state: JobState, end: Completion) -> None:
    assert full_video(end) == video_of(state, Live(percent_of_state(state)))


def data_of(job_event: JobEvent | None) -> dict[str, Any]:
    assert job_event is not None
    [delivery] = core.deliveries_of(knowing(WHOLE), job_event, NOW)
    data: dict[str, Any] = json.loads(delivery.body)["data"]
    return data


def test_every_event_carries_the_whole_video_and_its_sequence() -> None:
    begun = running(job(3))
    first = begun.stages[STAGES[0]].model_copy(update={"dispatches": 1})
    assert begun.lease is not None
    lease = begun.lease.model_copy(update={"started_at": NOW})
    start = data_of(start_of(begun.model_copy(update={"stages": begun.stages | {STAGES[0]: first}, "lease": lease})))
    assert (start["status"], start["sequence"], start["prompt"]) == ("in_progress", 1, "a red circle")
    jobs = Running()
    jobs.take(running(with_done(job(3), Stage.ENCODE)))
    news = data_of(jobs.reached(step_of(job(3), 5), NOW))
    assert (news["progress"], news["sequence"], news["x_latentline"]["step"]) == (46, 40, 5)
    for state, end in ends():
        said = data_of(end_of(end))
        assert said.pop("sequence") == 100
        assert Video.model_validate(said) == video_of(state, Live(percent_of_state(state)))


def test_one_who_did_not_ask_for_it_gets_the_id_alone() -> None:
    [(_, end), *_] = ends()
    both = knowing(WHOLE, changed(WHOLE, id="we_" + "2" * 32, payload="thin"))
    bodies = {len(json.loads(each.body)["data"]) for each in core.deliveries_of(both, end_of(end), NOW)}
    assert min(bodies) == 2 < max(bodies)
    hooked = end_of(end.model_copy(update={"webhook_url": "https://a.example"}))
    [to_url] = core.deliveries_of(knowing(), hooked, NOW)
    assert json.loads(to_url.body)["data"] == {"id": end.job, "sequence": 100}


@pytest.mark.parametrize(
    ("type", "status"),
    [(COMPLETED, "completed"), (FAILED, "failed"), (CANCELLED, "failed"), (STARTED, "in_progress"),
     (PROGRESS, "in_progress")],
)  # fmt: skip
def test_a_sample_has_the_shape_that_its_endpoint_asked_for(type: str, status: str) -> None:
    known = knowing(WHOLE)
    request = DeliveryRequested(id="whr_" + "5" * 32, tenant="default", endpoint=WHOLE.id, at=NOW, type=type)
    for key, record in core.requested(known, request, NOW):
        known.take(key, record)
    [sample] = known.deliveries.values()
    data = json.loads(sample.body)["data"]
    video = Video.model_validate({name: value for name, value in data.items() if name != "sequence"})
    assert (video.status, video.id) == (status, sample.job)
    assert (video.error is not None) == (status == "failed")


@pytest.mark.parametrize(("state", "end"), ends(), ids=["completed", "failed", "cancelled"])
def test_a_deleted_job_leaves_no_word_of_its_user_in_a_delivery(state: JobState, end: Completion) -> None:
    prompt = state.recipe.prompt if state.recipe else ""
    job_event = end_of(end.model_copy(update={"webhook_url": "https://me.example/secret-place"}))
    known = knowing(WHOLE)
    apply(known, core.scheduled(known, job_event, NOW))
    assert any(prompt in delivery.body for delivery in known.deliveries.values())
    apply(known, core.deleted(known, Deletion(state.job)))
    assert [orjson.loads(each.body)["data"].keys() for each in known.deliveries.values()] == [
        {"id", "sequence"} for _ in known.deliveries
    ]
    for delivery in [*known.deliveries.values()]:
        assert known.url_of(delivery) is not None, "what is on its way still arrives"
        apply(known, core.attempted(known, delivery, Answer(0.1, 204), NOW, 1.0, 0.5))
    kept = b"".join(delivery.to_bytes() for delivery in known.deliveries.values())
    assert prompt.encode() not in kept
    assert b"secret-place" not in kept
    assert core.scheduled(known, job_event, NOW) == [], "none is made twice"


def test_an_end_that_is_read_after_its_deletion_is_told_without_the_video() -> None:
    _, end = ends()[0]
    known = knowing(WHOLE)
    apply(known, core.deleted(known, Deletion(end.job)))
    apply(known, core.scheduled(known, end_of(end), NOW))
    [delivery] = known.deliveries.values()
    assert orjson.loads(delivery.body)["data"].keys() == {"id", "sequence"}


def test_a_delivery_that_is_let_go_is_no_longer_found_by_its_job() -> None:
    _, end = ends()[0]
    known = knowing(WHOLE)
    apply(known, core.scheduled(known, end_of(end), NOW))
    apply(known, [(key, None) for key in known.deliveries])
    assert known.of_job == {}
