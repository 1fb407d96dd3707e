"""Webhook endpoints and the latest deliveries, as their topics tell of them. Changed by one thread, read by many."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from confluent_kafka import Message

from schemas.base import Frozen
from schemas.webhooks import EndpointDisabled, TenantSecret, WebhookDelivery, WebhookEndpoint
from streams.kafka.topics import ENDPOINTS, WEBHOOKS

MOST_LOGS, LONGEST_LOG = 10_000, 100

Log = OrderedDict[str, WebhookDelivery]


@dataclass
class Hooks:
    """`logs`: deliveries by id, oldest first; by the endpoint that they go to, or by the job whose prompt named a URL.

    A gateway also takes in what it has just written, so its own callers read their writes.
    """

    endpoints: dict[str, WebhookEndpoint] = field(default_factory=dict)
    disabled: dict[str, EndpointDisabled] = field(default_factory=dict)
    logs: OrderedDict[str, Log] = field(default_factory=OrderedDict)
    secrets: dict[str, TenantSecret] = field(default_factory=dict)
    """By tenant; without one its secret was never rotated."""
    _names: dict[str, str] = field(default_factory=dict)
    """Delivery to the name of its log."""
    _removed: set[str] = field(default_factory=set)
    _news: set[str] = field(default_factory=set)

    def take(self, topic: str, message: Message, event: Frozen | None) -> bool:
        """Whether the record is about webhooks. `topic` is the table's name for it."""
        key = (message.key() or b"").decode(errors="replace")
        if topic == ENDPOINTS.name:
            self._take_endpoint(key, event)
        elif topic == WEBHOOKS.name:
            self._take_state(key, event)
        return topic in (ENDPOINTS.name, WEBHOOKS.name)

    def _take_endpoint(self, key: str, event: Frozen | None) -> None:
        if event is None:
            self.remove(key)
        elif isinstance(event, WebhookEndpoint):
            self.put(event)
        elif isinstance(event, TenantSecret):
            self.put_secret(event)

    def _take_state(self, key: str, event: Frozen | None) -> None:
        self._news.add(key)
        if isinstance(event, EndpointDisabled):
            self.disabled[key] = event
        elif isinstance(event, WebhookDelivery):
            self._log(event)
        elif event is None:
            self.disabled.pop(key, None)
            self.logs.get(self._names.pop(key, ""), Log()).pop(key, None)

    def _log(self, delivery: WebhookDelivery) -> None:
        name = delivery.endpoint or delivery.job
        log = self.logs.setdefault(name, Log())
        log[delivery.id] = delivery
        self._names[delivery.id] = name
        if len(log) > LONGEST_LOG:
            del self._names[log.popitem(last=False)[0]]
        if len(self.logs) > MOST_LOGS:
            for key in self.logs.popitem(last=False)[1]:
                del self._names[key]

    def put(self, endpoint: WebhookEndpoint) -> None:
        """The endpoint as it is now; an older word about it, read later, changes nothing."""
        known = self.endpoints.get(endpoint.id)
        if endpoint.id not in self._removed and (known is None or known.revision < endpoint.revision):
            self.endpoints[endpoint.id] = endpoint

    def put_secret(self, secret: TenantSecret) -> None:
        """Of two rotations at once, which come to the same secret, the one that is read last tells of the overlap."""
        if self.secret_of(secret.tenant).generation <= secret.generation:
            self.secrets[secret.tenant] = secret

    def secret_of(self, tenant: str) -> TenantSecret:
        return self.secrets.get(tenant) or TenantSecret(tenant=tenant)

    def remove(self, key: str) -> None:
        self._removed.add(key)
        self.endpoints.pop(key, None)
        for delivery in self.logs.pop(key, Log()):
            self._names.pop(delivery, None)

    def news(self) -> set[str]:
        """Keys of what has been heard since the last time."""
        news, self._news = self._news, set()
        return news

    def of(self, tenant: str) -> list[WebhookEndpoint]:
        """Newest first."""
        own = (each for each in [*self.endpoints.values()] if each.tenant == tenant)
        return sorted(own, key=lambda each: (each.created_at, each.id), reverse=True)

    def disabled_of(self, endpoint: WebhookEndpoint) -> EndpointDisabled | None:
        """Why nothing goes there."""
        disabled = self.disabled.get(endpoint.id)
        return disabled if disabled is not None and disabled.revision >= endpoint.revision else None

    def log_of(self, name: str) -> list[WebhookDelivery]:
        """Newest first."""
        return [*self.logs.get(name, Log()).values()][::-1]

    def delivery(self, name: str, delivery: str) -> WebhookDelivery | None:
        return self.logs.get(name, Log()).get(delivery)
