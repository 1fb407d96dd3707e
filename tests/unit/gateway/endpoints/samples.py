"""What tests of webhook endpoints share: an intake without a broker, and words about endpoints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from gateway.dependencies import Gateway
from schemas.base import Frozen
from schemas.webhooks import WebhookDelivery
from streams.kafka.topics import Topic
from tests.contract.examples import first
from tests.unit.gateway.samples import asked

PLACE = "/v1/webhook_endpoints"
NEW = {"url": "https://shop.example/hooks", "name": "shop", "event_types": ["video.completed"]}


class Acknowledging:
    """An intake that has taken everything at once."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Frozen | None]] = []

    async def keep(self, topic: Topic, key: str, record: Frozen | None) -> None:
        self.records.append((topic.name, key, record))


def said(gateway: Gateway) -> list[tuple[str, str, Frozen | None]]:
    return cast(Acknowledging, gateway.intake).records


def made(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    answer = asked(gateway, "POST", PLACE, json=NEW | fields)
    assert answer.status_code == 200, answer.text
    endpoint: dict[str, Any] = answer.json()
    return endpoint


def heard(gateway: Gateway, topic: Topic, key: str, record: Frozen | None) -> None:
    message: Any = SimpleNamespace(key=key.encode, value=lambda: b"{}")
    assert gateway.hooks.take(topic.name, message, record)


def delivery(endpoint: str, number: int = 0, **fields: Any) -> WebhookDelivery:
    example = first("webhook_delivery").model_dump()
    return WebhookDelivery.model_validate(example | {"endpoint": endpoint, "id": f"whd_{number:032x}"} | fields)
