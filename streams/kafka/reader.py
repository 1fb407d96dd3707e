"""Read partitions by assignment: no group, nothing committed, and the end of what is there is a fact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import stamina
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from streams.kafka import clients, unreadable_batches
from streams.kafka.errors import ClientError, TopicMissing, Unreachable
from streams.kafka.topics import Topic

ANSWER_WITHIN_S = 10.0
Answer = TypeVar("Answer")


class Reader:
    """A read_committed reader of any partitions. Every call may raise `ClientError`."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._watch = settings, clients.ErrorWatch()
        self._consumer = clients.consumer(clients.TOOL, settings, self._watch)
        self._behind: dict[tuple[str, int], int] = {}
        """Partitions that have not been read to their end, with where that was when they were assigned."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def cluster(self) -> str:
        """Which Kafka this is."""
        try:
            return str(self._consumer.list_topics(timeout=ANSWER_WITHIN_S).cluster_id)
        except KafkaException as error:
            raise Unreachable(self._settings.kafka_bootstrap, error.args[0].str()) from None

    def from_start(self, topic: Topic) -> list[TopicPartition]:
        return [TopicPartition(name, number, OFFSET_BEGINNING) for name, number in self._partitions(topic)]

    def since(self, topic: Topic, moment: float) -> list[TopicPartition]:
        """Where all begins that was written after `moment` (unix seconds) or is not committed yet."""
        places = [TopicPartition(*partition, int(moment * 1000)) for partition in self._partitions(topic)]
        return self._answered(lambda: [self._resolved(place) for place in places])

    def _resolved(self, place: TopicPartition) -> TopicPartition:
        """From a time in milliseconds to an offset."""
        (found,) = self._consumer.offsets_for_times([place], timeout=ANSWER_WITHIN_S)
        clients.raise_for(found.error)
        # For a reader of read_committed this end lies before every open transaction.
        _, end = self._consumer.get_watermark_offsets(place, timeout=ANSWER_WITHIN_S)
        return TopicPartition(place.topic, place.partition, min(found.offset, end) if found.offset >= 0 else end)

    def ends(self, topic: Topic) -> dict[tuple[str, int], int]:
        """Where each partition ends now, for a reader of what is committed."""
        return self._ends_of([TopicPartition(*partition) for partition in self._partitions(topic)])

    def _ends_of(self, places: list[TopicPartition]) -> dict[tuple[str, int], int]:
        def end(place: TopicPartition) -> int:
            return int(self._consumer.get_watermark_offsets(place, timeout=ANSWER_WITHIN_S)[1])

        return self._answered(lambda: {(place.topic, place.partition): end(place) for place in places})

    def _answered(self, ask: Callable[[], Answer]) -> Answer:
        try:
            # A partition that has just been created, or whose broker has just died, has no leader for a moment.
            for attempt in stamina.retry_context(on=KafkaException, attempts=None, timeout=ANSWER_WITHIN_S):
                with attempt:
                    return ask()
        except KafkaException as error:
            raise Unreachable(self._settings.kafka_bootstrap, error.args[0].str()) from None
        raise AssertionError("the retry loop always returns or raises")

    def _partitions(self, topic: Topic) -> list[tuple[str, int]]:
        name = topic.named(self._settings.topic_prefix)
        try:
            found = self._consumer.list_topics(name, timeout=ANSWER_WITHIN_S).topics[name]
        except KafkaException as error:
            raise Unreachable(self._settings.kafka_bootstrap, error.args[0].str()) from None
        if found.error is not None:
            raise TopicMissing(name)
        return [(name, number) for number in sorted(found.partitions)]

    def assign(self, places: list[TopicPartition]) -> None:
        """From these offsets on. The end is where it is now: one that moves all the time would never be met."""
        self._behind = self._ends_of(places)
        self._consumer.assign(places)

    @property
    def at_end(self) -> bool:
        """Whether every partition has once been read to its end."""
        return not self._behind

    def read(self, seconds: float) -> list[Message]:
        """The next records; none when there is nothing for `seconds`."""
        first = self._consumer.poll(seconds)
        self._watch.check()
        batch = [] if first is None else [first, *self._consumer.consume(1000, 0)]
        return [message for message in batch if self._is_record(message)]

    def _is_record(self, message: Message) -> bool:
        error, place = message.error(), (message.topic() or "", message.partition() or 0)
        if error is None:
            if place in self._behind and (message.offset() or 0) + 1 >= self._behind[place]:
                del self._behind[place]
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._behind.pop(place, None)
        elif unreadable_batches.is_of_message(error):
            self._skip(message, place)
        elif not clients.is_mended(error):
            raise ClientError(f"cannot read {message.topic() or 'from Kafka'}: {error.str()}")
        return False

    def _skip(self, message: Message, place: tuple[str, int]) -> None:
        try:
            after = unreadable_batches.skip(self._consumer, message, self._settings, self._watch)
        except KafkaException as error:
            raise Unreachable(self._settings.kafka_bootstrap, error.args[0].str()) from None
        if after >= self._behind.get(place, after + 1):
            del self._behind[place]

    def read_to_end(self) -> Iterator[Message]:
        """Everything up to the end of every assigned partition. Raises `Unreachable` when Kafka falls silent."""
        heard = time.monotonic()
        while not self.at_end:
            known = len(self._behind)
            batch = self.read(0.1)
            if batch or len(self._behind) < known:
                heard = time.monotonic()
            elif time.monotonic() - heard > ANSWER_WITHIN_S:
                raise Unreachable(self._settings.kafka_bootstrap, f"silent for {ANSWER_WITHIN_S:g} s")
            yield from batch


def event_of(message: Message) -> Frozen | None:
    """The event of a record; None for a tombstone and for what is no event of ours."""
    try:
        return envelope.read(message.value(), clients.headers_of(message))[0]
    except envelope.UnreadableEvent:
        return None
