"""What becomes of a delivery, whatever its receiver answers."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.webhooks import COMPLETED, FAILED, DeliveryOutcome, DeliveryRequested, WebhookDelivery
from tests.contract.examples import NOW
from tests.unit.webhooks.samples import END, ENDPOINT, apply, changed, knowing
from webhooks.delivery import schedule, state
from webhooks.delivery.http import Answer
from webhooks.delivery.payload import JobEvent
from webhooks.delivery.state import WebhookState

OK, BROKEN = Answer(0.1, 200), Answer(0.1, 500)


def the_delivery(known: WebhookState) -> WebhookDelivery:
    (delivery,) = known.deliveries.values()
    return delivery


def answered(known: WebhookState, answer: Answer, now: float = NOW) -> WebhookDelivery:
    apply(known, state.attempted(known, the_delivery(known), answer, now, 1.0, 0.5))
    return the_delivery(known)


@pytest.fixture
def known() -> WebhookState:
    known = knowing(ENDPOINT)
    apply(known, state.scheduled(known, END, NOW))
    return known


def test_a_delivery_is_tried_again_with_the_same_body_until_it_is_taken(known: WebhookState) -> None:
    before = the_delivery(known)
    assert (before.outcome, before.next_at) == (DeliveryOutcome.PENDING, NOW)
    after = answered(known, Answer(0.2, error="ConnectError: refused"))
    assert (after.outcome, after.attempts, after.next_at) == (DeliveryOutcome.PENDING, 1, NOW + 5)
    assert (after.body, after.event) == (before.body, before.event)
    done = answered(known, OK, NOW + 5)
    assert (done.outcome, done.next_at) == (DeliveryOutcome.DELIVERED, None)
    assert [(each.status, each.error) for each in done.log] == [(None, "ConnectError: refused"), (200, None)]


@pytest.mark.parametrize("status", [302, 304, 400, 401, 404, 429, 500, 503])
def test_everything_but_a_2xx_is_tried_again(known: WebhookState, status: int) -> None:
    assert answered(known, Answer(0.1, status)).next_at == NOW + 5


def test_the_last_failed_attempt_disables_the_endpoint_until_it_is_changed(known: WebhookState) -> None:
    while the_delivery(known).next_at is not None:
        answered(known, BROKEN)
    failed = the_delivery(known)
    assert (failed.outcome, failed.attempts, len(failed.log)) == (DeliveryOutcome.FAILED, 10, 10)
    assert not known.serves(ENDPOINT)
    other = JobEvent("video_" + "0" * 32, "acme", COMPLETED, NOW)
    assert state.scheduled(known, other, NOW) == []
    known.take_endpoint(ENDPOINT.id, changed(ENDPOINT, revision=2))
    assert len(state.scheduled(known, other, NOW)) == 1


def test_an_endpoint_that_took_something_else_meanwhile_is_not_disabled(known: WebhookState) -> None:
    poison = the_delivery(known)
    other = state.delivery_of(JobEvent("video_" + "0" * 32, "acme", COMPLETED, NOW), COMPLETED, NOW, ENDPOINT.id, None)
    apply(known, state.attempted(known, other, OK, NOW + 9, 1.0, 0.5))
    for _ in range(schedule.ATTEMPTS):
        apply(known, state.attempted(known, known.deliveries[poison.id], BROKEN, NOW + 99, 1.0, 0.5))
    assert known.deliveries[poison.id].outcome is DeliveryOutcome.FAILED
    assert known.serves(ENDPOINT)


def test_gone_is_gone_at_once(known: WebhookState) -> None:
    assert answered(known, Answer(0.1, 410)).outcome is DeliveryOutcome.FAILED
    assert known.disabled[ENDPOINT.id].reason == "it answered 410 Gone"
    assert known.url_of(the_delivery(known)) is None


def test_a_deleted_endpoint_gets_nothing_more(known: WebhookState) -> None:
    known.take_endpoint(ENDPOINT.id, None)
    assert known.url_of(the_delivery(known)) is None
    apply(known, state.dropped(known, the_delivery(known)))
    assert list(known.open_deliveries()) == []


def request(**fields: Any) -> DeliveryRequested:
    return DeliveryRequested(id="whr_" + "5" * 32, tenant="acme", endpoint=ENDPOINT.id, at=NOW, **fields)


def test_a_delivery_is_made_again_when_its_owner_asks(known: WebhookState) -> None:
    done = answered(known, OK)
    changes = apply(known, state.requested(known, request(delivery=done.id), NOW + 60))
    again = the_delivery(known)
    assert (again.outcome, again.attempts, again.next_at, again.event) == ("pending", 0, NOW + 60, done.event)
    assert changes[-1] == (request().id, None)
    stranger = DeliveryRequested.model_validate(request(delivery=done.id).model_dump() | {"tenant": "globex"})
    assert state.requested(known, stranger, NOW) == [(stranger.id, None)]


def test_a_sample_is_tried_once_and_has_no_consequences() -> None:
    known = knowing(ENDPOINT)
    apply(known, state.requested(known, request(type=FAILED), NOW))
    assert (the_delivery(known).type, the_delivery(known).test) == (FAILED, True)
    assert answered(known, Answer(0.1, 410)).outcome is DeliveryOutcome.FAILED
    assert known.serves(ENDPOINT)


def test_the_log_is_let_go_after_the_completions_are(known: WebhookState) -> None:
    answered(known, OK)
    assert state.forgotten(known, NOW + state.KEPT_S - 1) == []
    assert state.forgotten(known, NOW + state.KEPT_S + 1) == [(the_delivery(known).id, None)]
    apply(known, state.forgotten(known, NOW + state.KEPT_S + 1))
    assert known.deliveries == {}


def test_what_is_still_to_be_delivered_is_never_forgotten(known: WebhookState) -> None:
    assert state.forgotten(known, NOW + 10 * state.KEPT_S) == []
    assert state.oldest_wait(known.open_deliveries(), NOW + 30) == 30
    assert state.oldest_wait([], NOW) == 0
