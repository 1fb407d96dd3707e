"""Read topics up to ends that were taken before: whatever was decided by then is in what was read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from runtime.settings import Settings
from streams.kafka import clients, unreadable_batches
from streams.kafka.errors import ClientError, TopicMissing, Unreachable
from streams.kafka.offsets import admin_client
from streams.kafka.topics import PROMPTS, Topic

ANSWER_WITHIN_S = 15.0
"""Longer than a transaction may stay open: until then a reader of committed records stands before it."""


class Log:
    """A reader of committed records that goes on where it left each topic. Every call may raise `ClientError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._watch = settings, clients.ErrorWatch()
        group = f"{settings.topic_prefix}latentline.coordinator"
        self._consumer = clients.consumer(clients.TOOL, settings, self._watch, group_id=group)
        self._admin = admin_client(settings)
        self._next: dict[tuple[str, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def handled_prompts(self) -> dict[int, int]:
        """By partition, the offset before which the coordinator has answered for every prompt."""
        asked = [TopicPartition(name, number) for name, number in self._partitions(PROMPTS)]
        try:
            found = self._consumer.committed(asked, timeout=ANSWER_WITHIN_S)
        except KafkaException as error:
            raise self._unreachable(error) from None
        return {place.partition: max(place.offset, 0) for place in found}

    def _partitions(self, topic: Topic) -> list[tuple[str, int]]:
        name = topic.named(self._settings.topic_prefix)
        try:
            found = self._consumer.list_topics(name, timeout=ANSWER_WITHIN_S).topics[name]
        except KafkaException as error:
            raise self._unreachable(error) from None
        if found.error is not None:
            raise TopicMissing(name)
        return [(name, number) for number in sorted(found.partitions)]

    def _ends(self, topic: Topic) -> dict[tuple[str, int], int]:
        """The ends of everything written, committed or not: what was written before a commit lies before them."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*place): latest for place in self._partitions(topic)}
        futures = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_WITHIN_S
        )
        try:
            return {(place.topic, place.partition): future.result().offset for place, future in futures.items()}
        except KafkaException as error:
            self._admin = admin_client(self._settings)
            raise self._unreachable(error) from None

    def read(self, topic: Topic) -> Iterator[Message]:
        """All that has been added to a topic by now, oldest first in each partition."""
        ends = self._ends(topic)
        self._consumer.assign([TopicPartition(*place, self._next.get(place, OFFSET_BEGINNING)) for place in ends])
        heard = time.monotonic()
        while ends:
            batch = self._consumer.consume(1000, 0.1)
            self._watch.check()
            heard = time.monotonic() if batch else heard
            if time.monotonic() - heard > ANSWER_WITHIN_S:
                raise Unreachable(self._settings.kafka_bootstrap, f"silent for {ANSWER_WITHIN_S:g} s")
            for message in batch:
                place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
                if self._is_record(message):
                    self._next[place] = offset + 1
                    yield message
                elif is_end(message) and offset >= ends.get(place, 0):
                    ends.pop(place, None)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is not None and unreadable_batches.is_of_message(error):
            self._skip(message)
        elif error is not None and not clients.is_mended(error):
            raise ClientError(f"cannot read {message.topic() or 'from Kafka'}: {error.str()}")
        return error is None

    def _skip(self, message: Message) -> None:
        try:
            after = unreadable_batches.skip(self._consumer, message, self._settings, self._watch)
        except KafkaException as error:
            raise self._unreachable(error) from None
        self._next[message.topic() or "", message.partition() or 0] = after

    def _unreachable(self, error: KafkaException) -> Unreachable:
        return Unreachable(self._settings.kafka_bootstrap, error.args[0].str())


def is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF
