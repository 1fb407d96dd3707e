"""The routes of webhook endpoints without a broker: what is asked for is acknowledged, and what it says is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import SecretStr

from schemas.base import Frozen
from schemas.webhooks import (
    DeliveryOutcome,
    DeliveryRequested,
    EndpointDisabled,
    TenantSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from streams.gateway import endpoints
from streams.gateway.gateway import Gateway
from streams.gateway.hooks import LONGEST_LOG, Hooks
from streams.gateway.hub import Hub
from streams.gateway.keys import Keys
from streams.gateway.pace import Pace
from streams.gateway.rates import Rates
from streams.gateway.read_model import ReadModel
from streams.notifier import keys
from streams.settings import Settings
from streams.topics import ENDPOINTS, WEBHOOKS, Topic
from tests.contract.examples import NOW, first
from tests.unit.gateway.samples import BUNDLES, asked

PLACE = "/v1/webhook_endpoints"
NEW = {"url": "https://shop.example/hooks", "name": "shop", "event_types": ["video.completed"]}


class Acknowledging:
    """An intake that has taken everything at once."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Frozen | None]] = []

    async def keep(self, topic: Topic, key: str, record: Frozen | None) -> None:
        self.records.append((topic.name, key, record))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    settings = Settings(webhook_secret=SecretStr("s" * 32))
    model, away = ReadModel.in_folder(tmp_path), cast(Any, None)
    feed, intake = cast(Any, SimpleNamespace(is_caught_up=True)), cast(Any, Acknowledging())
    yield Gateway(settings, BUNDLES, model, Keys(settings), Hub(), feed, intake, away, away, Pace(), Rates(settings))
    model.close()


def said(gateway: Gateway) -> list[tuple[str, str, Frozen | None]]:
    return cast(Acknowledging, gateway.intake).records


def made(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    answer = asked(gateway, "POST", PLACE, json=NEW | fields)
    assert answer.status_code == 200, answer.text
    endpoint: dict[str, Any] = answer.json()
    return endpoint


def message(key: str, value: bytes | None = b"{}") -> Any:
    return SimpleNamespace(key=key.encode, value=lambda: value)


def heard(gateway: Gateway, topic: Topic, key: str, record: Frozen | None) -> None:
    assert gateway.hooks.take(topic.name, message(key), record)


def delivery(endpoint: str, number: int = 0, **fields: Any) -> WebhookDelivery:
    example = first("webhook_delivery").model_dump()
    return WebhookDelivery.model_validate(example | {"endpoint": endpoint, "id": f"whd_{number:032x}"} | fields)


def test_an_endpoint_shows_its_secret_once_and_the_topic_never_has_it(gateway: Gateway) -> None:
    endpoint = made(gateway)
    secret = endpoint.pop("signing_secret")
    [(topic, key, record)] = said(gateway)
    assert (topic, key) == ("endpoints", endpoint["id"])
    assert isinstance(record, WebhookEndpoint)
    assert secret == keys.secret_of_endpoint(gateway.settings.webhook_secret, record)
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


def test_a_rotation_gives_another_secret_and_keeps_the_old_one_if_asked_to(gateway: Gateway) -> None:
    endpoint = made(gateway)
    path = f"{PLACE}/{endpoint['id']}/rotate_secret"
    second = asked(gateway, "POST", path, json={"keep_old_secret_active_for_24_hours": True}).json()["signing_secret"]
    record = gateway.hooks.endpoints[endpoint["id"]]
    signing = keys.secrets_of(gateway.settings.webhook_secret, record, record.updated_at)
    assert signing == [second, endpoint["signing_secret"]]
    third = asked(gateway, "POST", path).json()["signing_secret"]
    record = gateway.hooks.endpoints[endpoint["id"]]
    assert keys.secrets_of(gateway.settings.webhook_secret, record, record.updated_at) == [third]


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
    hooks.put(newer.changed(revision=1, name="old"))
    assert hooks.endpoints[newer.id] == newer


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
    monkeypatch.setattr(endpoints, "NOTIFIED_WITHIN_S", 0.1 - gateway.settings.webhook_timeout_s)
    answer = asked(gateway, "POST", f"{PLACE}/{endpoint}/test")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")


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
    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 2)
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


def test_event_types_and_the_secret_of_a_tenant(gateway: Gateway) -> None:
    types = asked(gateway, "GET", "/v1/webhook_event_types").json()
    words = ("completed", "failed", "cancelled", "started", "progress")
    assert types == {"object": "list", "data": [f"video.{word}" for word in words]}
    secret = asked(gateway, "GET", "/v1/webhooks/default/secret").json()["key"]
    assert secret == keys.secret_of_tenant(gateway.settings.webhook_secret, "default")
    for method, path in (("GET", "secret"), ("POST", "rotate_secret")):
        assert asked(gateway, method, f"/v1/webhooks/default/{path}", key=None).status_code == 401


def test_a_tenant_rotates_its_own_secret_and_the_topic_has_only_how_often(gateway: Gateway) -> None:
    path, root = "/v1/webhooks/default", gateway.settings.webhook_secret
    first = asked(gateway, "GET", f"{path}/secret").json()
    assert first["former_active_until"] is None
    overlap = {"keep_old_secret_active_for_24_hours": True}
    second = asked(gateway, "POST", f"{path}/rotate_secret", json=overlap).json()
    [(topic, key, record)] = said(gateway)
    assert isinstance(record, TenantSecret)
    assert (topic, key, record.generation) == ("endpoints", "tenant/default", 2)
    assert keys.secrets_of(root, record, NOW) == [second["key"], first["key"]]
    assert second["key"][6:] not in record.to_bytes().decode()
    assert asked(gateway, "GET", f"{path}/secret").json() == second
    third = asked(gateway, "POST", f"{path}/rotate_secret").json()
    assert keys.secrets_of(root, gateway.hooks.secret_of("default"), NOW) == [third["key"]]
    heard(gateway, ENDPOINTS, key, record)
    assert asked(gateway, "GET", f"{path}/secret").json()["key"] == third["key"], "an older word changes nothing"
    assert gateway.hooks.secret_of("globex") == TenantSecret(tenant="globex")


def test_two_changes_at_once_are_two_revisions(gateway: Gateway) -> None:
    endpoint = made(gateway)["id"]

    async def both() -> list[WebhookEndpoint]:
        changes = [changed_by(gateway, endpoint, name) for name in ("one", "two")]
        return list(await asyncio.gather(*changes))

    assert {each.revision for each in asyncio.run(both())} == {2, 3}


async def changed_by(gateway: Gateway, endpoint: str, name: str) -> WebhookEndpoint:
    async with gateway.lock_of(endpoint):
        return await endpoints.kept(
            gateway, endpoints.changed(endpoints.found(gateway, "default", endpoint), name=name)
        )
