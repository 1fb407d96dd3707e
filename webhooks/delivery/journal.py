"""All of Kafka for the one notifier that is active: what it reads, and one transaction for all that it decides.

Input offsets move in the transaction that records the deliveries made of the input, not when these arrive: a schedule
of days holds no partition. The owner of the first partition of `webhooks` is the active one; its transactional id
fences whoever was it before.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping

from confluent_kafka import Consumer, Message, TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.events.completions import Completion
from schemas.job import JobState, JobStatus
from schemas.webhooks import STARTED, DeliveryRequested
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.errors import Unreachable
from streams.kafka.producer_record import ProducerRecord
from streams.kafka.reader import ANSWER_WITHIN_S, Reader, event_of
from streams.kafka.topics import COMPLETIONS, ENDPOINTS, JOBS, WEBHOOKS
from streams.kafka.transactions import Transactions
from webhooks.delivery.payload import Deletion, JobEvent, end_of, start_of
from webhooks.delivery.state import WebhookState

NAME = "latentline.notifier"
"""Of the group, and the transactional id."""
SOURCE = "latentline/notifier"
DELETED = f'"{JobStatus.DELETED.value}"'.encode()


class Journal:
    """Raises `Lost` once memory and log may differ, `ClientError` when the broker does not answer."""

    def __init__(self, settings: Settings, group: Consumer, watch: ErrorWatch) -> None:
        self._settings, self._group = settings, group
        self._prefix = settings.topic_prefix
        name = f"{self._prefix}{NAME}"
        producer = clients.producer(clients.TRANSACTIONAL, settings, watch, transactional_id=name)
        self._transactions = Transactions(producer, self._prefix)
        self._state, self._source = Reader(settings), Reader(settings)
        self._seen: dict[tuple[str, int], int] = {}
        """How far `endpoints` has been read."""
        self._positions: dict[tuple[str, int], int] = {}
        """Next offsets of what was read and not committed yet."""
        self._jobs, self._requests = JOBS.named(self._prefix), WEBHOOKS.named(self._prefix)

    def open(self, known: WebhookState) -> None:
        """Fence, read everything that is known, and only then what is new."""
        self._transactions.init_transactions()
        self._seen = self._state.ends(ENDPOINTS)
        self._state.assign([*self._state.from_start(ENDPOINTS), *self._state.from_start(WEBHOOKS)])
        for message in self._state.read_to_end():
            self._take(known, message)
        # Nobody has asked for the starts of jobs that were before the first notifier.
        self._source.assign(
            self._left_off([*self._source.from_start(COMPLETIONS), *self._source.since(JOBS, time.time())])
        )

    def _left_off(self, places: list[TopicPartition]) -> list[TopicPartition]:
        asked = [TopicPartition(place.topic, place.partition) for place in places]
        committed = {(place.topic, place.partition): place.offset for place in self._group.committed(asked, timeout=30)}
        return [
            TopicPartition(place.topic, place.partition, offset) if offset >= 0 else place
            for place in places
            for offset in [committed[place.topic, place.partition]]
        ]

    def _take(self, known: WebhookState, message: Message) -> None:
        key, event = (message.key() or b"").decode(errors="replace"), event_of(message)
        if event is None and message.value() is not None:
            return
        if message.topic() == self._requests:
            known.take(key, event)
        else:
            self._seen[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            known.take_endpoint(key, event)

    def read(self, known: WebhookState, seconds: float) -> list[JobEvent | Deletion]:
        """What has happened to jobs; waits up to `seconds` for a first record. Endpoints and requests go to `known`.

        Whoever set up an endpoint before a job ended hears of that end: `endpoints` is read on to where it ends now.
        """
        self._transactions.serve()
        messages = self._source.read(seconds)
        self._follow(known, 0.0)
        if not messages:
            return []
        wanted, deadline = self._state.ends(ENDPOINTS), time.monotonic() + ANSWER_WITHIN_S
        while any(self._seen.get(place, 0) < end for place, end in wanted.items()):
            if time.monotonic() > deadline:
                raise Unreachable(self._settings.kafka_bootstrap, "`endpoints` was not read to its end")
            self._follow(known, 0.1)
        return list(self._happenings(known, messages))

    def _follow(self, known: WebhookState, seconds: float) -> None:
        """Of `webhooks` only what others write: of what we wrote, memory has the newer."""
        for message in self._state.read(seconds):
            if message.topic() != self._requests or isinstance(event_of(message), DeliveryRequested):
                self._take(known, message)

    def _happenings(self, known: WebhookState, messages: Iterable[Message]) -> Iterator[JobEvent | Deletion]:
        is_wanted = known.is_wanted(STARTED)
        for message in messages:
            self._positions[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            if message.topic() == self._jobs and not (is_wanted or may_tell_of_deletion(message)):
                continue
            event = event_of(message)
            if isinstance(event, Completion):
                yield end_of(event)
            elif isinstance(event, JobState):
                yield from told_by(event)

    @property
    def is_behind(self) -> bool:
        """Whether it has read what is not committed."""
        return bool(self._positions)

    def commit(self, changes: Mapping[str, Frozen | None]) -> None:
        """Write all of it, with the offsets of all that was read."""
        offsets = [TopicPartition(*place, offset) for place, offset in self._positions.items()]
        records = (outgoing(key, record, time.time()) for key, record in changes.items())
        self._transactions.commit(records, offsets, self._group.consumer_group_metadata())
        self._positions = {}

    def close(self) -> None:
        self._state.close()
        self._source.close()


def may_tell_of_deletion(message: Message) -> bool:
    """Told by the bytes alone: most states are of no interest here, and reading one costs much more than this."""
    return DELETED in (message.value() or b"")


def told_by(state: JobState) -> Iterator[JobEvent | Deletion]:
    if state.status is JobStatus.DELETED:
        yield Deletion(state.job)
    elif start := start_of(state):
        yield start


def outgoing(key: str, record: Frozen | None, now: float) -> ProducerRecord:
    if record is None:
        return ProducerRecord(WEBHOOKS, key, None)
    value, headers = envelope.write(record, id=str(uuid.uuid4()), source=SOURCE, time=now)
    return ProducerRecord(WEBHOOKS, key, value, headers)
