"""Batches that nobody can unpack, and how a reader gets past one without losing what stands behind it.

librdkafka gives an error at the first offset of such a batch, again and again, and does not say where it ends. A batch
that unpacks to far more than it weighs is one: its producer decides how it is packed, and a broker that keeps it as it
came does not look.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch

OF_THE_MESSAGE = (
    KafkaError._BAD_COMPRESSION,
    KafkaError._BAD_MSG,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError.MSG_SIZE_TOO_LARGE,
)
"""Errors of a consumer that are about what was written, and come again at each try."""
ANSWER_WITHIN_S = 10.0

log = structlog.get_logger(__name__)


def is_of_message(error: KafkaError) -> bool:
    """Whether the batch itself cannot be read, rather than the broker or the connection."""
    return error.code() in OF_THE_MESSAGE


def skip(consumer: Consumer, message: Message, settings: Settings, watch: ErrorWatch) -> int:
    """Let a reader go on after the batch that `message` tells of. The next offset. Raises `KafkaException`."""
    place = TopicPartition(message.topic() or "", message.partition() or 0, message.offset() or 0)
    after = end_of_batch(settings, watch, place)
    consumer.seek(TopicPartition(place.topic, place.partition, after))
    log.error("unreadable batch", topic=place.topic, partition=place.partition, first=place.offset, last=after - 1)
    return after


def end_of_batch(settings: Settings, watch: ErrorWatch, place: TopicPartition) -> int:
    """The offset after the unreadable batch that begins at `place`. Raises `KafkaException` without an answer."""
    # Beyond the end there is nothing to ask: a reader that is told to would begin again at the start.
    reader = clients.consumer(clients.READER, settings, watch, fetch_error_backoff_ms=10, auto_offset_reset="error")
    try:
        _, end = reader.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout=ANSWER_WITHIN_S)
        return first_outside(place.offset, lambda offset: offset < end and _fails_at(reader, place, offset))
    finally:
        reader.close()


def _fails_at(reader: Consumer, place: TopicPartition, offset: int) -> bool:
    """Whether reading from `offset` on fails at the first offset of the very batch."""
    reader.assign([TopicPartition(place.topic, place.partition, offset)])
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while time.monotonic() < deadline:
        message = reader.poll(1.0)
        error = None if message is None else message.error()
        if message is None or (error is not None and clients.is_mended(error)):
            continue
        if error is not None and not is_of_message(error):
            raise KafkaException(error)
        return error is not None and message.offset() == place.offset
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def first_outside(inside: int, is_inside: Callable[[int], bool]) -> int:
    """The first number above `inside` that is not: in as many questions as its distance has binary digits, twice."""
    step = 1
    while is_inside(inside + step):
        inside, step = inside + step, 2 * step
    outside = inside + step
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return outside
