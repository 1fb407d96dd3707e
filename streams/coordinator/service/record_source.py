"""`prompts` and `reports` as records of the core; what cannot be read there is a record too, and is got past."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from runtime.settings import Settings
from streams.coordinator.core.dispatch import Record
from streams.kafka import clients, unreadable_batches
from streams.kafka.clients import ErrorWatch, UnreadableHeaders
from streams.kafka.topics import PROMPTS, REPORTS


class Source:
    """Reads one consumer. A message that can never be read becomes a record with a `fault`, to be dead-lettered."""

    def __init__(self, consumer: Consumer, settings: Settings, watch: ErrorWatch) -> None:
        self.consumer, self._settings, self._watch = consumer, settings, watch
        self._names = {topic.named(settings.topic_prefix): topic.name for topic in (PROMPTS, REPORTS)}

    def read(self, most: int, seconds: float = 0.0) -> list[Record]:
        """What is there, waiting up to `seconds` for the first.

        Raises `KafkaException` for an error that librdkafka does not mend by itself and that is not of a message.
        """
        if not seconds:
            return list(self._records(self.consumer.consume(most, 0)))
        first = self.consumer.poll(seconds)
        return [] if first is None else list(self._records([first, *self.consumer.consume(most, 0)]))

    def _records(self, messages: Iterable[Message]) -> Iterable[Record]:
        passed: dict[tuple[str | None, int | None], int] = {}
        for message in messages:
            error, place = message.error(), (message.topic(), message.partition())
            if error is None:
                yield self._record(message)
            elif unreadable_batches.is_of_message(error):
                # The same error comes again at each fetch.
                if (message.offset() or 0) >= passed.get(place, 0):
                    record = self._unreadable(message, error)
                    passed[place] = record.next_offset
                    yield record
            elif not clients.is_mended(error):
                raise KafkaException(error)

    def _record(self, message: Message) -> Record:
        topic, fault = self._names[message.topic() or ""], None
        try:
            headers = clients.read_headers(message)
        except UnreadableHeaders as error:
            headers, fault = [], str(error)
        return Record(topic, message.partition() or 0, message.offset() or 0, message.value(), headers, fault)

    def _unreadable(self, message: Message, error: KafkaError) -> Record:
        """A record that stands for a whole batch, where that is what cannot be unpacked. Reading goes on after it."""
        topic, partition, first = self._names[message.topic() or ""], message.partition() or 0, message.offset() or 0
        after = unreadable_batches.skip(self.consumer, message, self._settings, self._watch)
        fault = f"offsets {first} to {after - 1}: {error.str()}"
        return Record(topic, partition, first, None, [], fault, after - first)
