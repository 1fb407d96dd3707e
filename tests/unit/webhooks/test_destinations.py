"""Who hears of what happens to a job."""

from __future__ import annotations

from typing import TypeGuard

import pytest

from schemas.base import Frozen
from schemas.events.completions import Completion
from schemas.job import JobStatus
from schemas.webhooks import CANCELLED, COMPLETED, FAILED, STARTED
from tests.contract.examples import JOB, NOW, STATE, first
from tests.unit.webhooks.samples import END, ENDPOINT, apply, changed, knowing
from webhooks.delivery import state
from webhooks.delivery.payload import JobEvent, end_of, start_of


def test_an_end_goes_once_to_each_endpoint_that_wants_it_and_to_the_url_of_its_prompt() -> None:
    others = [
        changed(ENDPOINT, id="we_" + "2" * 32, tenant="globex"),
        changed(ENDPOINT, id="we_" + "3" * 32, event_types=(FAILED,)),
        changed(ENDPOINT, id="we_" + "4" * 32, created_at=NOW + 1),
    ]
    known = knowing(ENDPOINT, *others)
    apply(known, state.scheduled(known, JobEvent(JOB, "acme", COMPLETED, NOW, "https://a.example"), NOW))
    made = known.deliveries.values()
    assert {(each.endpoint, each.url) for each in made} == {(ENDPOINT.id, None), (None, "https://a.example")}
    assert len({each.event for each in made}) == 1
    assert {known.url_of(each) for each in made} == {ENDPOINT.url, "https://a.example"}


def test_a_replayed_end_makes_nothing_new() -> None:
    known = knowing(ENDPOINT)
    apply(known, state.scheduled(known, END, NOW))
    assert state.scheduled(known, END, NOW + 60) == []


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [((COMPLETED, FAILED), FAILED), ((COMPLETED, FAILED, CANCELLED), CANCELLED), ((CANCELLED,), CANCELLED),
     ((COMPLETED,), None)],
)  # fmt: skip
def test_a_cancelled_video_has_failed_unless_one_asks_to_be_told(wanted: tuple[str, ...], heard: str | None) -> None:
    known = knowing(changed(ENDPOINT, event_types=wanted))
    apply(known, state.scheduled(known, JobEvent(JOB, "acme", CANCELLED, NOW), NOW))
    assert [each.type for each in known.deliveries.values()] == ([heard] if heard else [])


def is_end(event: Frozen) -> TypeGuard[Completion]:
    return isinstance(event, Completion)


def test_what_happens_to_a_job_is_named() -> None:
    ends = [end_of(end) for end in map(first, ("job_completed", "job_failed", "job_cancelled")) if is_end(end)]
    assert [end.type for end in ends] == [COMPLETED, FAILED, CANCELLED]
    assert {(end.job, end.tenant, end.at) for end in ends} == {(JOB, "acme", NOW + 9)}
    stage, record = next(iter(STATE.stages.items()))
    begun = STATE.model_copy(update={"stages": {stage: record.model_copy(update={"dispatches": 1})}})
    start = start_of(begun)
    assert start is not None
    assert (start.type, start.job, start.at) == (STARTED, JOB, NOW + 1)
    assert start_of(STATE) is None
    assert start_of(begun.model_copy(update={"status": JobStatus.WAITING, "lease": None})) is None
