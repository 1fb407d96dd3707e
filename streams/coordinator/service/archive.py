"""Whole states of ended jobs: the coordinator keeps a tombstone of each, and `jobs` keeps the rest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from runtime.settings import Settings
from schemas.job import JobState
from streams.coordinator.core.state.tombstone import EndedJob, UnreadableState, read_record
from streams.coordinator.service.changelog import ChangelogUnreadable, state_of
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.topics import JOBS
from streams.kafka.transactions import ResultUnknown

READ_WITHIN_S, SHOWN_WITHIN_S, POLL_S = 10.0, 2.0, 0.1
READ_AHEAD = 2000
"""Records after the noted offset among which a state is looked for, where its own is not known: more than one
transaction writes."""

log = structlog.get_logger(__name__)


class Archive:
    """Knows where this coordinator writes states, and reads one at a time. Its client begins with the first of these.

    `end`: the offset up to which the changelog was replayed.
    """

    def __init__(self, settings: Settings, cell: int, watch: ErrorWatch, end: int) -> None:
        self._settings, self._watch, self._end = settings, watch, end
        self._topic, self._cell = JOBS.named(settings.topic_prefix), cell
        self._consumer: Consumer | None = None

    def offsets(self, written: Iterable[Message]) -> dict[str, int]:
        """By job: where a transaction has put its state. Of one that had to be sent twice the client does not know it:
        then this is the first offset at which it may stand."""
        first, found = self._end, dict[str, int]()
        for message in written:
            if message.topic() == self._topic:
                offset = message.offset()
                known = offset if offset is not None and offset >= 0 else first
                found[(message.key() or b"").decode()] = known
                self._end = max(self._end, known + 1)
        return found

    def state(self, job: EndedJob) -> JobState | None:
        """None where it is not in the log or cannot be understood. Raises `ResultUnknown` where no broker answers."""
        consumer = self._open()
        consumer.assign([TopicPartition(self._topic, self._cell, job.offset)])
        try:
            found = self._find(consumer, job)
            return None if found is None else state_of(found, found.value() or b"")
        except (ChangelogUnreadable, UnreadableState) as error:
            log.error("the state of an ended job cannot be read", job=job.job, error=str(error))
            return None
        finally:
            consumer.unassign()

    def _find(self, consumer: Consumer, job: EndedJob) -> Message | None:
        for message in islice(self._records(consumer, job.offset), READ_AHEAD):
            if (message.key() or b"").decode() == job.job and is_version(message, job.version):
                return message
        log.error("the log does not hold the state of an ended job", job=job.job, offset=job.offset)
        return None

    def _records(self, consumer: Consumer, offset: int) -> Iterator[Message]:
        """From an offset on, to the end and for a moment longer: what was just committed is shown a moment later."""
        deadline, is_at_end = time.monotonic() + READ_WITHIN_S, False
        while time.monotonic() < deadline:
            message = consumer.poll(POLL_S)
            error = message.error() if message else None
            if error is None and message is not None:
                yield message
            elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                deadline, is_at_end = min(deadline, time.monotonic() + SHOWN_WITHIN_S), True
            elif error is not None and not clients.is_mended(error):
                raise ResultUnknown(f"`jobs` cannot be read: {error.str()}")
        if not is_at_end:
            raise ResultUnknown(f"`jobs` was not read at offset {offset} within {READ_WITHIN_S:.0f} s")

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = clients.consumer(clients.ARCHIVE, self._settings, self._watch)
        return self._consumer

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()


def is_version(message: Message, version: int) -> bool:
    value = message.value()
    return value is not None and read_record(value).version == version
