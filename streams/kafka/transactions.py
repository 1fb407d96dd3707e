"""One Kafka transaction a turn: records and input offsets become visible together, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streams.kafka import clients
from streams.kafka.producer_record import ProducerRecord

BEGINS_WITHIN_S = 30.0
"""How long a broker may take to end what an earlier life has left open."""

DEADLINE_S = float(clients.TRANSACTIONAL["transaction.timeout.ms"][0]) / 1000
"""How long the steps of a transaction are tried again before its result counts as unknown. The broker ends it by itself
after as long: no later try can save it, and a new life of the process begins in seconds."""

CALL_S, PAUSE_S = 5.0, 0.1
"""What one call is given; what lies between two of them."""

ANY_PARTITION = -1
"""librdkafka's RD_KAFKA_PARTITION_UA: its partitioner chooses by key."""

STUCK_AFTER_S = 5.0
"""How long after its own timeout a call counts as one that will never return."""

REFUSALS = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD)


class Aborted(Exception):
    """The transaction was rolled back whole; the same work may be tried again."""


class RecordRejected(Exception):
    """Rolled back, since one of the records can never be written (too large, invalid)."""


class ResultUnknown(Exception):
    """Fenced, fatal, or an unknown result: memory no longer knows what the log holds. The process must end."""


@dataclass
class Transactions:
    """The transactional producer of one cell. Not thread-safe: one turn at a time.

    The three kinds of error are librdkafka's: retriable (the same call again), abortable, and all others.
    """

    producer: Producer
    prefix: str = ""
    deadline: float = DEADLINE_S
    stuck_after: float = STUCK_AFTER_S
    written: list[Message] = field(default_factory=list)
    """What the last commit has written, with offsets."""
    _errors: list[KafkaError] = field(default_factory=list)

    def init_transactions(self) -> None:
        """Fence whoever held this cell before, and wait for what it left open. Raises `ResultUnknown`."""
        self._retry_until(self.producer.init_transactions, time.monotonic() + BEGINS_WITHIN_S)

    def serve(self) -> None:
        """Let the client say what it has to say, as a commit does: for whoever commits seldom."""
        self.producer.poll(0)

    def commit(self, records: Iterable[ProducerRecord], offsets: list[TopicPartition], group: Any) -> None:
        """Write all of it. `group`: the consumer group's metadata as of now.

        Raises `Aborted`, `RecordRejected`, `ResultUnknown`.
        """
        self._errors.clear()
        self.written.clear()
        end = time.monotonic() + self.deadline
        try:
            self.producer.begin_transaction()
        except KafkaException as error:
            raise ResultUnknown(str(error)) from error
        try:
            for record in records:
                self._produce(record)
            if offsets:
                self._retry_until(lambda seconds: self._send_offsets(offsets, group, seconds), end)
            self._retry_until(self.producer.commit_transaction, end)
        except _Abortable as error:
            self._abort()
            if any(seen.code() in REFUSALS for seen in [*self._errors, error.error]):
                raise RecordRejected(str(error.error)) from error
            raise Aborted(str(error.error)) from error
        except ResultUnknown:
            # The call that is stuck holds the producer: an abort would be refused, however often it is asked for.
            raise
        except Exception:
            # Not the broker's doing: a record could not be made. What was produced so far must not stay open.
            self._abort()
            raise

    def _send_offsets(self, offsets: list[TopicPartition], group: Any, seconds: float) -> None:
        """In a thread of its own: when the group's coordinator goes away this call may block for ever, whatever its
        timeout (librdkafka issues 5456 and 5511). Then only the end of the process helps."""
        answer: SimpleQueue[Exception | None] = SimpleQueue()

        def call() -> None:
            try:
                self.producer.send_offsets_to_transaction(offsets, group, seconds)
            except Exception as error:
                answer.put(error)
            else:
                answer.put(None)

        Thread(target=call, name="send-offsets", daemon=True).start()
        try:
            error = answer.get(timeout=seconds + self.stuck_after)
        except Empty:
            raise ResultUnknown(
                f"send_offsets_to_transaction did not return within {seconds + self.stuck_after:.0f} s"
            ) from None
        if error is not None:
            raise error

    def _produce(self, record: ProducerRecord) -> None:
        partition = ANY_PARTITION if record.partition is None else record.partition
        while True:
            try:
                self.producer.produce(
                    record.topic.named(self.prefix), record.value, record.key, partition,
                    on_delivery=self._delivered, headers=[*record.headers],
                )  # fmt: skip
            except BufferError:
                self.producer.poll(0.1)
            except KafkaException as error:
                raise _Abortable(error.args[0]) from error
            else:
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._errors.append(error)
        else:
            self.written.append(message)

    def _retry_until(self, call: Callable[[float], object], end: float) -> None:
        while True:
            try:
                call(CALL_S)
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.txn_requires_abort():
                    raise _Abortable(cause) from error
                if not cause.retriable() or time.monotonic() > end:
                    raise ResultUnknown(str(cause)) from error
                # Some refusals come at once, and would come again.
                self.producer.poll(PAUSE_S)
            else:
                return

    def _abort(self) -> None:
        try:
            self._retry_until(self.producer.abort_transaction, time.monotonic() + self.deadline)
        except _Abortable as error:
            raise ResultUnknown(str(error.error)) from error


class _Abortable(Exception):
    def __init__(self, error: KafkaError) -> None:
        self.error = error
        super().__init__(str(error))
