"""The `jobs` topic of one cell, read as the changelog that it is: by a standby all the time, to its end at takeover."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import envelope
from schemas.envelope import UnreadableEvent
from schemas.job import JobState, StateTooNew
from streams import clients
from streams.clients import ErrorWatch
from streams.coordinator.ledger import Ledger
from streams.settings import Settings
from streams.topics import JOBS

BATCH = 500
REPLAY_DEADLINE_S = 50.0
"""Below the group's `max.poll.interval.ms`: nobody polls meanwhile, and the cell would go to somebody else."""

log = structlog.get_logger(__name__)


class Changelog:
    """Loads job states into a ledger. `close` it once the cell is ours: from then on we write what there is to know."""

    def __init__(self, settings: Settings, cell: int, watch: ErrorWatch) -> None:
        self._topic, self._cell = JOBS.named(settings.topic_prefix), cell
        self._reader: Consumer = clients.consumer(clients.READER, settings, watch)
        self._next = OFFSET_BEGINNING
        self._assign()

    def _assign(self) -> None:
        self._reader.assign([TopicPartition(self._topic, self._cell, self._next)])

    def follow(self, ledger: Ledger, seconds: float = 0.0) -> bool:
        """Load what is there, waiting up to `seconds` for the first record; whether the end was reached.

        Raises `KafkaException` for an error that librdkafka does not mend by itself, `ChangelogUnreadable`.
        """
        first = self._reader.poll(seconds)
        messages = [] if first is None else [first, *self._reader.consume(BATCH, 0)]
        ends = [self._take(ledger, message) for message in messages]
        return any(ends)

    def _take(self, ledger: Ledger, message: Message) -> bool:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return True
            if clients.is_mended(error):
                return False
            raise KafkaException(error)
        self._next = (message.offset() or 0) + 1
        job, value = (message.key() or b"").decode(), message.value()
        ledger.load(job, None if value is None else state_of(message, value))
        return False

    def replay(self, ledger: Ledger, turned: Callable[[], None] = lambda: None) -> None:
        """Read to the end as it is now, calling `turned` at each step. Raises `TimeoutError` when it does not come."""
        deadline = time.monotonic() + REPLAY_DEADLINE_S
        # Assigning anew makes the end announce itself again, also where nothing was added since.
        self._assign()
        while not self.follow(ledger, 0.5):
            turned()
            if time.monotonic() > deadline:
                raise TimeoutError(f"`jobs` was not read to its end within {REPLAY_DEADLINE_S:.0f} s")

    def close(self) -> None:
        self._reader.close()


class ChangelogUnreadable(Exception):
    """A changelog that we cannot read is no ground to stand on: this process must not coordinate."""


def state_of(message: Message, value: bytes) -> JobState:
    """The state as this release carries it on. Raises `ChangelogUnreadable`."""
    place = f"{message.topic()} of cell {message.partition()}, offset {message.offset()}"
    try:
        event, _ = envelope.read(value, clients.headers_of(message))
        if isinstance(event, JobState):
            return event.migrated
    except (UnreadableEvent, StateTooNew) as error:
        raise ChangelogUnreadable(f"{place}: {error}") from None
    raise ChangelogUnreadable(f"{place}: it holds a {type(event).__name__}")
