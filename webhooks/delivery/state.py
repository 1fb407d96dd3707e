"""What becomes of endpoints and deliveries: decisions over what is known, with no clock, chance or Kafka in them.

A decision is a list of changes to the `webhooks` topic; `take` them once they are committed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from schemas.base import Frozen
from schemas.digest import digest
from schemas.video import Live
from schemas.webhooks import (
    COMPLETED,
    FAILED,
    FULL,
    PROGRESS,
    DeliveryAttempt,
    DeliveryOutcome,
    DeliveryRequested,
    EndpointDisabled,
    TenantSecret,
    WebhookDelivery,
    WebhookEndpoint,
    delivery_id,
    event_id,
)
from webhooks.delivery import schedule
from webhooks.delivery.full_payload import sample_state
from webhooks.delivery.http import Answer
from webhooks.delivery.payload import Deletion, JobEvent, body_of, event_of, type_for, without_video
from webhooks.delivery.queue import Destination

ATTEMPTS_KEPT = 20
MOST_DELETED = 10_000
SAMPLE_PERCENT = 50
KEPT_S = 8 * 24 * 3600.0
"""For how long an ended delivery is remembered: longer than `completions` is kept, so none is ever made twice."""

Change = tuple[str, Frozen | None]
"""Key and record of `webhooks`; None lets the key go."""


@dataclass
class WebhookState:
    """Endpoints and deliveries as the topics tell of them."""

    endpoints: dict[str, WebhookEndpoint] = field(default_factory=dict)
    disabled: dict[str, EndpointDisabled] = field(default_factory=dict)
    deliveries: dict[str, WebhookDelivery] = field(default_factory=dict)
    requests: dict[str, DeliveryRequested] = field(default_factory=dict)
    """What is asked for and not done yet."""
    secrets: dict[str, TenantSecret] = field(default_factory=dict)
    """By tenant; without one its secret was never rotated."""
    of_job: dict[str, set[str]] = field(default_factory=dict)
    """Deliveries by job."""
    deleted: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """The latest deleted jobs: `jobs` may tell of a deletion before `completions` tells of the end."""

    def take_endpoint(self, key: str, endpoint: Frozen | None) -> None:
        """A record of `endpoints`."""
        if isinstance(endpoint, WebhookEndpoint):
            self.endpoints[key] = endpoint
        elif isinstance(endpoint, TenantSecret):
            self.secrets[endpoint.tenant] = endpoint
        elif endpoint is None:
            self.endpoints.pop(key, None)

    def take(self, key: str, record: Frozen | None) -> None:
        """A record of `webhooks`."""
        if isinstance(record, WebhookDelivery):
            self.deliveries[key] = record
            self.of_job.setdefault(record.job, set()).add(key)
        elif isinstance(record, EndpointDisabled):
            self.disabled[key] = record
        elif isinstance(record, DeliveryRequested):
            self.requests[key] = record
        elif record is None:
            self._forget_job_of(key)
            for part in (self.deliveries, self.disabled, self.requests):
                part.pop(key, None)

    def _forget_job_of(self, key: str) -> None:
        delivery = self.deliveries.get(key)
        if delivery is None:
            return
        keys = self.of_job[delivery.job]
        keys.discard(key)
        if not keys:
            del self.of_job[delivery.job]

    def record_deleted(self, job: str) -> None:
        self.deleted[job] = None
        if len(self.deleted) > MOST_DELETED:
            self.deleted.popitem(last=False)

    def serves(self, endpoint: WebhookEndpoint) -> bool:
        """Whether anything goes there: it does again after any change by its owner."""
        disabled = self.disabled.get(endpoint.id)
        return disabled is None or disabled.revision < endpoint.revision

    def open_deliveries(self) -> Iterator[WebhookDelivery]:
        return (delivery for delivery in self.deliveries.values() if delivery.next_at is not None)

    def is_wanted(self, type: str) -> bool:
        return any(type in each.event_types for each in self.endpoints.values())

    def signer_of(self, delivery: WebhookDelivery) -> WebhookEndpoint | TenantSecret:
        """Whose secret signs it: the endpoint's, or the tenant's own for the URL of a prompt."""
        endpoint = self.endpoints.get(delivery.endpoint or "")
        return endpoint or self.secrets.get(delivery.tenant) or TenantSecret(tenant=delivery.tenant)

    def url_of(self, delivery: WebhookDelivery) -> str | None:
        """Where it goes now; None where its endpoint is gone, disabled or somebody else's."""
        if delivery.endpoint is None:
            return delivery.url
        endpoint = self.endpoints.get(delivery.endpoint)
        if endpoint is None or endpoint.tenant != delivery.tenant or not (delivery.test or self.serves(endpoint)):
            return None
        return endpoint.url


def way_of(delivery: WebhookDelivery) -> Destination:
    """Endpoints are told apart by their ids, URLs of prompts by what stands before their path."""
    return Destination(delivery.endpoint or "/".join((delivery.url or "").split("/", 3)[:3]), delivery.tenant)


def scheduled(known: WebhookState, job_event: JobEvent, now: float) -> list[Change]:
    """A delivery to each who wants to hear of it, unless there has been one."""
    made = (delivery for delivery in deliveries_of(known, job_event, now) if delivery.id not in known.deliveries)
    return [(delivery.id, delivery) for delivery in made]


def deliveries_of(known: WebhookState, job_event: JobEvent, now: float) -> Iterator[WebhookDelivery]:
    for endpoint in known.endpoints.values():
        kind = type_for(job_event, endpoint.event_types)
        if kind and is_for(job_event, endpoint) and known.serves(endpoint):
            full = endpoint.payload == FULL and job_event.job not in known.deleted
            yield delivery_of(job_event, kind, now, endpoint.id, None, full)
    kind = type_for(job_event, (COMPLETED, FAILED))
    if job_event.url and kind:
        yield delivery_of(job_event, kind, now, None, job_event.url)


def deleted(known: WebhookState, deletion: Deletion) -> list[Change]:
    """What is kept of the deliveries of a deleted job: that there were such, so that none is made twice.

    What is still on its way arrives, with the id of the video and nothing else of it. The URL of a prompt goes as soon
    as nothing is sent there any more.
    """
    known.record_deleted(deletion.job)
    deliveries = (known.deliveries[key] for key in sorted(known.of_job.get(deletion.job, ())))
    return [(each.id, forgetful(each)) for each in deliveries]


def forgetful(delivery: WebhookDelivery) -> WebhookDelivery:
    """Without anything that a user wrote."""
    return delivery.replace(body=without_video(delivery.body), url=None if delivery.next_at is None else delivery.url)


def is_for(job_event: JobEvent, endpoint: WebhookEndpoint) -> bool:
    """An endpoint hears of its tenant's jobs, and of nothing that was before it."""
    return endpoint.tenant == job_event.tenant and endpoint.created_at <= job_event.at


def delivery_of(
    job_event: JobEvent, kind: str, now: float, endpoint: str | None, url: str | None, full: bool = False
) -> WebhookDelivery:
    """Its id is that of the job, the type and the receiver: the tens of percent of a job are one delivery, each word
    in the place of the one before."""
    return WebhookDelivery(
        id=delivery_id(event_id(job_event.job, kind), endpoint or url or ""), event=event_of(job_event, kind),
        type=kind, tenant=job_event.tenant, job=job_event.job, endpoint=endpoint, url=url,
        body=body_of(job_event, kind, full), created_at=now, next_at=now,
    )  # fmt: skip


def attempted(
    known: WebhookState, delivery: WebhookDelivery, answer: Answer, now: float, pace: float, chance: float
) -> list[Change]:
    """What one answer makes of a delivery, and of its endpoint."""
    entry = DeliveryAttempt(at=now - answer.seconds, seconds=answer.seconds, status=answer.status, error=answer.error)
    attempts = delivery.attempts + 1
    after = delivery.replace(attempts=attempts, log=(*delivery.log, entry)[-ATTEMPTS_KEPT:], next_at=None)
    if schedule.is_success(answer.status):
        return [(after.id, ended(known, after, DeliveryOutcome.DELIVERED))]
    ends = delivery.test or answer.status == schedule.GONE
    wait = None if ends else schedule.delay(attempts, pace, chance, answer.retry_after)
    if wait is not None:
        return [(after.id, after.replace(next_at=now + wait))]
    failed = (after.id, ended(known, after, DeliveryOutcome.FAILED))
    return [failed, *disabling(known, delivery, answer, now)]


def ended(known: WebhookState, delivery: WebhookDelivery, outcome: DeliveryOutcome) -> WebhookDelivery:
    """It is sent no more. `delivery` has no next attempt."""
    final = delivery.replace(outcome=outcome)
    return forgetful(final) if delivery.job in known.deleted else final


def disabling(known: WebhookState, delivery: WebhookDelivery, answer: Answer, now: float) -> list[Change]:
    """An endpoint that says it is gone, or to which nothing came through while one delivery used up its attempts."""
    endpoint = known.endpoints.get(delivery.endpoint or "")
    if endpoint is None or delivery.test or not known.serves(endpoint):
        return []
    gone = answer.status == schedule.GONE
    if not gone and has_worked_since(known, endpoint, delivery.created_at):
        return []
    reason = "it answered 410 Gone" if gone else f"{schedule.ATTEMPTS} attempts of {delivery.id} failed"
    return [(endpoint.id, EndpointDisabled(endpoint=endpoint.id, revision=endpoint.revision, at=now, reason=reason))]


def has_worked_since(known: WebhookState, endpoint: WebhookEndpoint, moment: float) -> bool:
    return any(
        each.endpoint == endpoint.id and each.outcome is DeliveryOutcome.DELIVERED and each.log[-1].at >= moment
        for each in known.deliveries.values()
    )


def dropped(known: WebhookState, delivery: WebhookDelivery) -> list[Change]:
    """It has nowhere to go any more: its endpoint was deleted or disabled."""
    return [(delivery.id, ended(known, delivery.replace(next_at=None), DeliveryOutcome.DROPPED))]


def requested(known: WebhookState, request: DeliveryRequested, now: float) -> list[Change]:
    """Once done, the request is let go in the same transaction: it is never done twice."""
    return [*_done(known, request, now), (request.id, None)]


def _done(known: WebhookState, request: DeliveryRequested, now: float) -> list[Change]:
    if request.type is not None:
        endpoint = known.endpoints.get(request.endpoint)
        sample = sample_of(request, request.type, now, endpoint is not None and endpoint.payload == FULL)
        return [(sample.id, sample)]
    delivery = known.deliveries.get(request.delivery or "")
    if delivery is None or (delivery.tenant, delivery.endpoint) != (request.tenant, request.endpoint):
        return []
    again = delivery.replace(outcome=DeliveryOutcome.PENDING, attempts=0, next_at=now)
    return [(again.id, again)]


def sample_of(request: DeliveryRequested, type: str, now: float, full: bool) -> WebhookDelivery:
    job = f"video_{digest([request.id])[:32]}"
    percent = SAMPLE_PERCENT if type == PROGRESS else None
    live = None if percent is None else Live(percent)
    state = sample_state(job, request.tenant, type, request.at)
    job_event = JobEvent(job, request.tenant, type, request.at, percent=percent, subject=state, live=live)
    sample = delivery_of(job_event, type, now, request.endpoint, None, full)
    return sample.replace(id=request.delivery or sample.id, test=True)


def forgotten(known: WebhookState, now: float) -> list[Change]:
    """Ended deliveries of long ago, and the disabling of endpoints that are no more."""
    old = (each.id for each in known.deliveries.values() if each.next_at is None and last_of(each) < now - KEPT_S)
    gone = (key for key in known.disabled if key not in known.endpoints)
    return [(key, None) for key in (*old, *gone)]


def last_of(delivery: WebhookDelivery) -> float:
    return max([delivery.created_at, *(attempt.at for attempt in delivery.log)])


def oldest_wait(deliveries: Iterable[WebhookDelivery], now: float) -> float:
    """Seconds since the event of the oldest delivery that has not ended; 0 without one."""
    return max((now - delivery.created_at for delivery in deliveries), default=0.0)
