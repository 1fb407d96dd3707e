"""What a tenant says of its webhook endpoints is acknowledged and kept, or refused with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.api import webhook_endpoints
from gateway.dependencies import Gateway
from gateway.read_model.webhook_cache import Hooks
from schemas.webhooks import EndpointDisabled, WebhookEndpoint
from streams.kafka.topics import ENDPOINTS, WEBHOOKS
from tests.contract.examples import NOW, first
from tests.unit.gateway.endpoints.samples import NEW, PLACE, delivery, heard, made, said
from tests.unit.gateway.samples import asked
from webhooks import secrets


def test_an_endpoint_shows_its_secret_once_and_the_topic_never_has_it(gateway: Gateway) -> None:
    endpoint = made(gateway)
    secret = endpoint.pop("signing_secret")
    [(topic, key, record)] = said(gateway)
    assert (topic, key) == ("endpoints", endpoint["id"])
    assert isinstance(record, WebhookEndpoint)
    assert secret == secrets.secret_of_endpoint(gateway.settings.webhook_secret, record)
    assert secret[6:] not in record.to_bytes().decode()
    assert asked(gateway, "GET", f"{PLACE}/{endpoint['id']}").json() == endpoint
    listed = asked(gateway, "GET", PLACE).json()
    assert (listed["data"], listed["has_more"]) == ([endpoint], False)
    assert endpoint["signing_secret_hint"] == f"whsec_...{secret[-5:]}"
    assert endpoint["x_latentline"] == {"status": "enabled", "disabled_at": None, "reason": None, "payload": "thin"}


def test_a_form_sets_one_up_as_well(gateway: Gateway) -> None:
    form = {"url": NEW["url"], "name": "shop", "event_types[]": ["video.completed", "video.failed"]}
    answer = asked(gateway, "POST", PLACE, data=form)
    assert (answer.status_code, answer.json()["event_types"]) == (200, form["event_types[]"])


def test_a_change_keeps_what_is_left_out_and_enables_what_was_disabled(gateway: Gateway) -> None:
    endpoint = made(gateway)["id"]
    heard(gateway, WEBHOOKS, endpoint, EndpointDisabled(endpoint=endpoint, revision=1, at=NOW, reason="410"))
    state = asked(gateway, "GET", f"{PLACE}/{endpoint}").json()["x_latentline"]
    assert state == {"status": "disabled", "disabled_at": int(NOW), "reason": "410", "payload": "thin"}
    changed = asked(gateway, "POST", f"{PLACE}/{endpoint}", json={"event_types": ["video.failed", "video.started"]})
    assert changed.json()["event_types"] == ["video.failed", "video.started"]
    assert (changed.json()["url"], changed.json()["x_latentline"]["status"]) == (NEW["url"], "enabled")


def test_how_much_its_events_say_is_the_endpoints_choice(gateway: Gateway) -> None:
    endpoint = made(gateway, payload="full")
    assert endpoint["x_latentline"]["payload"] == gateway.hooks.endpoints[endpoint["id"]].payload == "full"
    renamed = asked(gateway, "POST", f"{PLACE}/{endpoint['id']}", json={"name": "other"}).json()
    assert renamed["x_latentline"]["payload"] == "full"
    thin = asked(gateway, "POST", f"{PLACE}/{endpoint['id']}", json={"payload": "thin"}).json()
    assert thin["x_latentline"]["payload"] == "thin"


def test_a_deleted_endpoint_stays_deleted_though_its_past_is_read_later(gateway: Gateway) -> None:
    endpoint = made(gateway)["id"]
    record = gateway.hooks.endpoints[endpoint]
    assert asked(gateway, "DELETE", f"{PLACE}/{endpoint}").json() == {
        "id": endpoint, "object": "webhook_endpoint.deleted", "deleted": True
    }  # fmt: skip
    assert said(gateway)[-1] == ("endpoints", endpoint, None)
    heard(gateway, ENDPOINTS, endpoint, record)
    assert asked(gateway, "GET", f"{PLACE}/{endpoint}").status_code == 404


def test_an_older_word_about_an_endpoint_changes_nothing() -> None:
    hooks, newer = Hooks(), first("webhook_endpoint")
    assert isinstance(newer, WebhookEndpoint)
    hooks.put(newer)
    hooks.put(newer.replace(revision=1, name="old"))
    assert hooks.endpoints[newer.id] == newer


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"url": "http://shop.example/"}, "invalid_value", "url"),
        ({"url": "https://10.0.0.1/"}, "invalid_value", "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "invalid_value", "url"),
        ({"url": "https://shop.example/\r\nx: y"}, "invalid_value", "url"),
        ({"url": "shop"}, "invalid_value", "url"),
        ({"url": None}, "invalid_value", "url"),
        ({"name": "x" * 200}, "invalid_value", "name"),
        ({"event_types": []}, "invalid_value", "event_types"),
        ({"event_types": ["batch.completed"]}, "invalid_value", "event_types.0"),
        ({"payload": "fat"}, "invalid_value", "payload"),
        ({"secret": "mine"}, "unknown_parameter", "secret"),
    ],
)
def test_what_an_endpoint_cannot_be(gateway: Gateway, body: dict[str, Any], code: str, param: str) -> None:
    for path in (PLACE, f"{PLACE}/{made(gateway)['id']}"):
        if body == {"url": None} and path != PLACE:
            continue
        answer = asked(gateway, "POST", path, json=(NEW if path == PLACE else {}) | body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
        assert answer.headers["x-should-retry"] == "false"
    assert all(record is None or "10.0.0.1" not in str(record.to_bytes()) for _, _, record in said(gateway))


def test_a_tenant_has_so_many_endpoints_and_no_more(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_endpoints, "MOST_ENDPOINTS", 2)
    made(gateway)
    made(gateway)
    assert asked(gateway, "POST", PLACE, json=NEW).json()["error"]["code"] == "too_many_endpoints"


def test_another_tenants_endpoint_is_not_there(gateway: Gateway) -> None:
    foreign = first("webhook_endpoint")
    assert isinstance(foreign, WebhookEndpoint)
    heard(gateway, ENDPOINTS, foreign.id, foreign)
    heard(gateway, WEBHOOKS, "x", delivery(foreign.id))
    path = f"{PLACE}/{foreign.id}"
    for method, end in (("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/rotate_secret"), ("POST", "/test"),
                        ("GET", "/deliveries"), ("POST", f"/deliveries/whd_{0:032x}/redeliver")):  # fmt: skip
        answer = asked(gateway, method, path + end)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "webhook_endpoint_not_found")
    assert asked(gateway, "GET", PLACE).json()["data"] == []
    assert asked(gateway, "GET", PLACE, params={"after": foreign.id}).status_code == 400
    assert said(gateway) == []


def test_two_changes_at_once_are_two_revisions(gateway: Gateway) -> None:
    endpoint = made(gateway)["id"]

    async def both() -> list[WebhookEndpoint]:
        changes = [changed_by(gateway, endpoint, name) for name in ("one", "two")]
        return list(await asyncio.gather(*changes))

    assert {each.revision for each in asyncio.run(both())} == {2, 3}


async def changed_by(gateway: Gateway, endpoint: str, name: str) -> WebhookEndpoint:
    async with gateway.lock_of(endpoint):
        return await webhook_endpoints.kept(
            gateway, webhook_endpoints.changed(webhook_endpoints.found(gateway, "default", endpoint), name=name)
        )
