"""What tests of webhooks share: an endpoint, an end that it hears of, a notifier that knows of them."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from schemas.webhooks import COMPLETED, FAILED, WebhookEndpoint
from tests.contract.examples import JOB, NOW
from webhooks.delivery.payload import JobEvent
from webhooks.delivery.state import Change, WebhookState

ROOT = SecretStr("r" * 32)
ENDPOINT = WebhookEndpoint(
    id="we_" + "1" * 32, tenant="acme", name="shop", url="https://shop.example/hooks", event_types=(COMPLETED, FAILED),
    created_at=NOW - 100, updated_at=NOW - 100,
)  # fmt: skip
END = JobEvent(JOB, "acme", COMPLETED, NOW)


def knowing(*endpoints: WebhookEndpoint) -> WebhookState:
    return WebhookState({endpoint.id: endpoint for endpoint in endpoints})


def changed(endpoint: WebhookEndpoint, **fields: Any) -> WebhookEndpoint:
    return WebhookEndpoint.model_validate(endpoint.model_dump() | fields)


def apply(known: WebhookState, changes: list[Change]) -> list[Change]:
    for key, record in changes:
        known.take(key, record)
    return changes
