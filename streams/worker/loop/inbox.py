"""The partitions in which this incarnation is addressed, one a stage, read from a definite offset on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

import stamina
from confluent_kafka import KafkaException, Message, TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Envelope, Headers, UnreadableEvent
from schemas.events.reports import Inbox
from schemas.events.tasks import Task
from schemas.stage import Stage
from streams.kafka import clients
from streams.kafka.addressing import Address, address_of
from streams.kafka.clients import ErrorWatch
from streams.kafka.partitions import check_partitions
from streams.kafka.topics import REPORTS, TASKS

WATERMARK_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class InboxRecord:
    """A record of an inbox, to whomever it is addressed."""

    stage: Stage
    address: Address
    value: bytes | None
    headers: Headers

    def read(self) -> tuple[Frozen, Envelope]:
        """Raises `UnreadableEvent`, also for a task with settings of a newer release."""
        event, attributes = envelope.read(self.value, self.headers)
        if isinstance(event, Task) and not event.is_whole:
            raise UnreadableEvent("invalid_field", "recipe: it has settings of a newer release")
        return event, attributes


@dataclass(frozen=True)
class InboxBroken:
    """The inbox cannot be read on: tasks may have been missed, so this life must end."""

    why: str


def partition_of(incarnation: str, partitions: int) -> int:
    """Any spread will do: what is addressed to others is skipped."""
    return int.from_bytes(hashlib.sha256(incarnation.encode()).digest()[:8], "big") % partitions


class Inboxes:
    """Assigned at the end as it is now, a number; only then may the worker announce itself (protocol rule 1)."""

    def __init__(
        self, settings: Settings, stages: tuple[Stage, ...], incarnation: str, watch: ErrorWatch,
        events: Callable[[InboxRecord | InboxBroken], None],
    ) -> None:  # fmt: skip
        """Raises `KafkaException` when the broker does not tell the end of a partition in time, `WrongPartitions`."""
        self._events = events
        self._stages = {TASKS[stage].named(settings.topic_prefix): stage for stage in stages}
        self._consumer = clients.consumer(clients.INBOX, settings, watch)
        check_partitions(self._consumer, settings, (REPORTS, *(TASKS[stage] for stage in stages)))
        self.partitions = {stage: partition_of(incarnation, TASKS[stage].partitions) for stage in self._stages.values()}
        self.echoes = dict.fromkeys(self._stages.values(), 0)
        self._consumer.assign([self._end_of(topic, self.partitions[stage]) for topic, stage in self._stages.items()])
        self._stop = Event()
        self._thread = Thread(target=self._read, name="inbox", daemon=True)
        self._thread.start()

    @stamina.retry(on=KafkaException, attempts=None, timeout=30.0)
    def _end_of(self, topic: str, partition: int) -> TopicPartition:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=WATERMARK_TIMEOUT_S)
        return TopicPartition(topic, partition, end)

    def listed(self) -> tuple[Inbox, ...]:
        return tuple(
            Inbox(stage=stage, partition=partition, echo=self.echoes[stage])
            for stage, partition in self.partitions.items()
        )

    def record_read(self, letter: InboxRecord) -> None:
        """The echo is the highest lease number read, whoever it was for: numbers rise in a cell."""
        self.echoes[letter.stage] = max(self.echoes[letter.stage], letter.address.lease)

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self._events(self._letter(message))
            elif not clients.is_mended(error):
                self._events(InboxBroken(str(error)))
                return

    def _letter(self, message: Message) -> InboxRecord:
        headers = clients.headers_of(message)
        return InboxRecord(self._stages[message.topic() or ""], address_of(headers), message.value(), headers)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()
