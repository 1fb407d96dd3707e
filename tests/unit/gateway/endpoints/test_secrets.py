"""A signing secret is shown to its owner alone, and changed at will."""

from __future__ import annotations

from gateway.dependencies import Gateway
from schemas.webhooks import TenantSecret
from streams.kafka.topics import ENDPOINTS
from tests.contract.examples import NOW
from tests.unit.gateway.endpoints.samples import PLACE, heard, made, said
from tests.unit.gateway.samples import asked
from webhooks import secrets


def test_a_rotation_gives_another_secret_and_keeps_the_old_one_if_asked_to(gateway: Gateway) -> None:
    endpoint = made(gateway)
    path = f"{PLACE}/{endpoint['id']}/rotate_secret"
    second = asked(gateway, "POST", path, json={"keep_old_secret_active_for_24_hours": True}).json()["signing_secret"]
    record = gateway.hooks.endpoints[endpoint["id"]]
    signing = secrets.secrets_of(gateway.settings.webhook_secret, record, record.updated_at)
    assert signing == [second, endpoint["signing_secret"]]
    third = asked(gateway, "POST", path).json()["signing_secret"]
    record = gateway.hooks.endpoints[endpoint["id"]]
    assert secrets.secrets_of(gateway.settings.webhook_secret, record, record.updated_at) == [third]


def test_event_types_and_the_secret_of_a_tenant(gateway: Gateway) -> None:
    types = asked(gateway, "GET", "/v1/webhook_event_types").json()
    words = ("completed", "failed", "cancelled", "started", "progress")
    assert types == {"object": "list", "data": [f"video.{word}" for word in words]}
    secret = asked(gateway, "GET", "/v1/webhooks/default/secret").json()["key"]
    assert secret == secrets.secret_of_tenant(gateway.settings.webhook_secret, "default")
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
    assert secrets.secrets_of(root, record, NOW) == [second["key"], first["key"]]
    assert second["key"][6:] not in record.to_bytes().decode()
    assert asked(gateway, "GET", f"{path}/secret").json() == second
    third = asked(gateway, "POST", f"{path}/rotate_secret").json()
    assert secrets.secrets_of(root, gateway.hooks.secret_of("default"), NOW) == [third["key"]]
    heard(gateway, ENDPOINTS, key, record)
    assert asked(gateway, "GET", f"{path}/secret").json()["key"] == third["key"], "an older word changes nothing"
    assert gateway.hooks.secret_of("globex") == TenantSecret(tenant="globex")
