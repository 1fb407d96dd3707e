"""What became of deliveries, and the wish for another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from gateway.api import webhook_endpoints
from gateway.dependencies import Gateway
from gateway.read_model.webhook_cache import LONGEST_LOG
from schemas.base import Frozen
from schemas.webhooks import DeliveryOutcome, DeliveryRequested
from streams.kafka.topics import WEBHOOKS, Topic
from tests.contract.examples import NOW
from tests.unit.gateway.endpoints.samples import PLACE, Acknowledging, delivery, heard, made, said
from tests.unit.gateway.samples import asked


def test_pages_of_endpoints_and_of_deliveries(gateway: Gateway) -> None:
    ids = [made(gateway, name=str(number))["id"] for number in range(5)][::-1]
    seen, after = [], None
    while True:
        page = asked(gateway, "GET", PLACE, params={"limit": 2} | ({"after": after} if after else {})).json()
        seen += [each["id"] for each in page["data"]]
        after = seen[-1]
        if not page["has_more"]:
            break
    assert seen == ids
    for number in range(LONGEST_LOG + 5):
        heard(gateway, WEBHOOKS, f"whd_{number:032x}", delivery(ids[0], number))
    log = asked(gateway, "GET", f"{PLACE}/{ids[0]}/deliveries", params={"limit": 100}).json()
    assert (len(log["data"]), log["has_more"]) == (LONGEST_LOG, False)
    assert log["data"][0]["id"] == f"whd_{LONGEST_LOG + 4:032x}"
    assert log["data"][0]["attempts"] == [
        {"at": int(NOW), "seconds": 0.25, "status_code": 500, "error": "answered 500"}
    ]  # fmt: skip
    heard(gateway, WEBHOOKS, log["data"][0]["id"], None)
    assert gateway.hooks.log_of(ids[0])[0].id == log["data"][1]["id"]


def test_a_redelivery_is_asked_of_the_notifier(gateway: Gateway) -> None:
    endpoint = made(gateway)["id"]
    heard(gateway, WEBHOOKS, "x", delivery(endpoint, 7))
    answer = asked(gateway, "POST", f"{PLACE}/{endpoint}/deliveries/whd_{7:032x}/redeliver")
    assert (answer.status_code, answer.json()["id"]) == (202, f"whd_{7:032x}")
    topic, key, request = said(gateway)[-1]
    assert isinstance(request, DeliveryRequested)
    assert (topic, key, request.delivery, request.endpoint) == ("webhooks", request.id, f"whd_{7:032x}", endpoint)


def test_samples_and_redeliveries_have_a_rate_of_their_own(gateway: Gateway) -> None:
    """Each makes us send to an address of the tenant's choice, as often as it asks."""
    endpoint = made(gateway)["id"]
    heard(gateway, WEBHOOKS, "x", delivery(endpoint, 7))
    again = f"{PLACE}/{endpoint}/deliveries/whd_{7:032x}/redeliver"
    statuses = [asked(gateway, "POST", again).status_code for _ in range(11)]
    assert statuses == [202] * 10 + [429]
    answer = asked(gateway, "POST", f"{PLACE}/{endpoint}/test", json={"event_type": "video.failed"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert asked(gateway, "GET", f"{PLACE}/{endpoint}").status_code == 200


@pytest.mark.parametrize(
    ("attempt", "status", "code"),
    [({"status": 500, "error": None}, 200, None), ({"status": None, "error": "Refused: x"}, 424, "webhook_unanswered")],
)
def test_a_test_waits_for_what_the_receiver_answers(
    gateway: Gateway, attempt: dict[str, Any], status: int, code: str | None
) -> None:
    endpoint = made(gateway)["id"]

    class Notified(Acknowledging):
        async def keep(self, topic: Topic, key: str, record: Frozen | None) -> None:
            assert isinstance(record, DeliveryRequested)
            log = [{"at": NOW, "seconds": 0.1, **attempt}]
            sent = delivery(endpoint, id=record.delivery, outcome=DeliveryOutcome.FAILED, next_at=None, log=log)
            heard(gateway, WEBHOOKS, sent.id, sent)

    notified = replace(gateway, intake=cast(Any, Notified()))
    answer = asked(notified, "POST", f"{PLACE}/{endpoint}/test", json={"event_type": "video.failed"})
    assert answer.status_code == status
    if code:
        assert answer.json()["error"]["code"] == code
    else:
        assert answer.json() == {
            "object": "webhook_endpoint.test", "event_type": "video.failed", "status_code": 500, "success": True,
            "webhook_endpoint_id": endpoint,
        }  # fmt: skip


def test_a_test_without_a_notifier_is_a_503(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = made(gateway)["id"]
    monkeypatch.setattr(webhook_endpoints, "NOTIFIED_WITHIN_S", 0.1 - gateway.settings.webhook_timeout_s)
    answer = asked(gateway, "POST", f"{PLACE}/{endpoint}/test")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
