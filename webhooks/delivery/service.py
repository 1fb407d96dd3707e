"""The active notifier: reads, decides, commits, and only then sends.

Memory runs ahead of the log within a turn alone: nothing is sent before the turn is committed, and one that cannot be
committed ends the process, which reads everything anew.
"""

from __future__ import annotations

import random
import time

import structlog

from runtime import metrics
from runtime.settings import Settings
from schemas.base import Frozen
from schemas.webhooks import PROGRESS, EndpointDisabled, WebhookDelivery
from webhooks import secrets as keys
from webhooks.delivery import schedule, state
from webhooks.delivery.http import Answer
from webhooks.delivery.journal import Journal
from webhooks.delivery.payload import Deletion
from webhooks.delivery.progress_queue import ProgressQueue
from webhooks.delivery.progress_source import ProgressSource
from webhooks.delivery.queue import DeliveryScheduler, Destination
from webhooks.delivery.sender import Sender
from webhooks.delivery.signing import signed
from webhooks.delivery.state import Change, WebhookState

TURN_S = 0.05
OFFSETS_EVERY_S, GAUGES_EVERY_S, FORGET_EVERY_S = 5.0, 5.0, 600.0

log = structlog.get_logger(__name__)


class Notifier:
    def __init__(self, settings: Settings, journal: Journal, news: ProgressSource, sender: Sender) -> None:
        self._settings, self._journal, self._news, self._sender = settings, journal, news, sender
        self._known, self._due, self._words = WebhookState(), DeliveryScheduler(), ProgressQueue()
        self._under_way: dict[str, Destination] = {}
        self._changes: dict[str, Frozen | None] = {}
        self._next = dict.fromkeys(("offsets", "gauges", "forget"), 0.0)

    def open(self) -> None:
        """Everything that is known, and what is still to be delivered."""
        self._journal.open(self._known)
        for delivery in self._known.open_deliveries():
            self._plan(delivery)
        log.info("the webhooks are ours", endpoints=len(self._known.endpoints), pending=len(self._due))

    @property
    def is_busy(self) -> bool:
        return bool(self._under_way)

    def turn(self, sending: bool = True) -> None:
        """Raises `Lost` and `ClientError`, after which only a new life can go on."""
        for job_event in self._journal.read(self._known, TURN_S):
            if isinstance(job_event, Deletion):
                self._note(state.deleted(self._known, job_event))
                continue
            self._note(state.scheduled(self._known, job_event, time.time()))
            if job_event.is_end:
                self._news.end(job_event.job)
                self._words.drop(job_event.job)
        for job_event in self._news.read(self._known.is_wanted(PROGRESS)):
            for word in state.deliveries_of(self._known, job_event, time.time()):
                self._words.put(word)
        for request in [*self._known.requests.values()]:
            self._note(state.requested(self._known, request, time.time()))
        for delivery, answer in self._sender.answers():
            self._take_answer(delivery, answer)
        if self._is_time("forget", FORGET_EVERY_S):
            self._note(state.forgotten(self._known, time.time()))
        self._commit()
        if sending:
            self._send_due(time.time())
            self._send_words(time.time())
        if self._is_time("gauges", GAUGES_EVERY_S):
            metrics.WEBHOOK_PENDING.set(len(self._due) + len(self._under_way))
            metrics.WEBHOOK_OLDEST.set(state.oldest_wait(self._known.open_deliveries(), time.time()))

    def _is_time(self, what: str, every: float) -> bool:
        now = time.monotonic()
        due = now >= self._next[what]
        if due:
            self._next[what] = now + every
        return due

    def _note(self, changes: list[Change]) -> None:
        """Decided; said when it is committed."""
        for key, record in changes:
            self._known.take(key, record)
            self._changes[key] = record
            if isinstance(record, WebhookDelivery):
                self._plan(record)

    def _plan(self, delivery: WebhookDelivery) -> None:
        if delivery.next_at is not None:
            self._due.add(delivery.id, state.way_of(delivery), delivery.next_at)

    def _take_answer(self, key: str, answer: Answer) -> None:
        now, word = time.time(), self._words.done(key)
        kind = "none" if answer.status is None else f"{answer.status // 100}xx"
        metrics.WEBHOOK_ATTEMPTS.labels(metrics.WEBHOOK_ANSWER.of(kind)).inc()
        way = state.way_of(word) if word else self._under_way.pop(key)
        if answer.status in schedule.OVERLOADED:
            wish = min(answer.retry_after or schedule.PAUSE_S, schedule.LONGEST_WISH_S)
            self._due.pause(way, now + wish * self._settings.webhook_pace)
        if word is not None:
            return
        self._due.done(way, now)
        if (delivery := self._known.deliveries.get(key)) is not None:
            pace = self._settings.webhook_pace
            self._note(state.attempted(self._known, delivery, answer, now, pace, random.random()))

    def _commit(self) -> None:
        if not self._changes and not (self._journal.is_behind and self._is_time("offsets", OFFSETS_EVERY_S)):
            return
        self._journal.commit(self._changes)
        for record in self._changes.values():
            count(record)
        self._changes = {}

    def _send_due(self, now: float) -> None:
        for key, way in self._due.take(now):
            delivery = self._known.deliveries.get(key)
            if delivery is None or delivery.next_at is None or delivery.next_at > now or key in self._under_way:
                self._due.done(way, now)
            elif (url := self._known.url_of(delivery)) is None:
                self._due.done(way, now)
                self._note(state.dropped(self._known, delivery))
            else:
                self._under_way[key] = way
                self._send(delivery, url, now)

    def _send_words(self, now: float) -> None:
        for word in self._words.take(lambda word: not self._due.is_paused(state.way_of(word), now)):
            if (url := self._known.url_of(word)) is None:
                self._words.done(word.id)
            else:
                self._send(word, url, now)

    def _send(self, delivery: WebhookDelivery, url: str, now: float) -> None:
        secrets = keys.secrets_of(self._settings.webhook_secret, self._known.signer_of(delivery), now)
        self._sender.send(delivery.id, url, signed(secrets, delivery.event, delivery.body, now), delivery.body)


def count(record: Frozen | None) -> None:
    """What is committed is counted, and what its owner has to know is logged."""
    if isinstance(record, WebhookDelivery) and record.next_at is None:
        metrics.WEBHOOK_DELIVERIES.labels(metrics.WEBHOOK_OUTCOME.of(record.outcome)).inc()
    elif isinstance(record, EndpointDisabled):
        metrics.WEBHOOK_DISABLED.inc()
        log.warning("a webhook endpoint is disabled", endpoint=record.endpoint, reason=record.reason)
