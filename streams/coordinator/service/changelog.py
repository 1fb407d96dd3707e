"""The `jobs` topic of one cell, read as the changelog that it is: by a standby all the time, to its end at takeover."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime.settings import Settings
from schemas import envelope
from schemas.envelope import UnreadableEvent
from schemas.job import JobState, StateTooNew
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.state.tombstone import JobRecord, UnreadableState, read_record
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.topics import JOBS

BATCH = 500
REPLAY_DEADLINE_S = 50.0
"""Below the group's `max.poll.interval.ms`: nobody polls meanwhile, and the cell would go to somebody else."""

log = structlog.get_logger(__name__)


class Changelog:
    """Loads jobs into a ledger. `close` it once the cell is ours: from then on we write what there is to know.

    Of a job that has ended its tombstone is kept. Of one that has not, only what is its newest record at the end of the
    log is read whole: a log that was not compacted yet has a dozen of each.
    """

    def __init__(self, settings: Settings, cell: int, watch: ErrorWatch) -> None:
        self._topic, self._cell = JOBS.named(settings.topic_prefix), cell
        self._reader: Consumer = clients.consumer(clients.READER, settings, watch)
        self._next = OFFSET_BEGINNING
        self._unread: dict[str, Message] = {}
        """Newest records of jobs that have not ended."""
        self._assign()

    @property
    def end(self) -> int:
        """The offset after the last record that was read."""
        return max(self._next, 0)

    def _assign(self) -> None:
        self._reader.assign([TopicPartition(self._topic, self._cell, self._next)])

    def follow(self, ledger: Ledger, seconds: float = 0.0) -> bool:
        """Load what is there, waiting up to `seconds` for the first record; whether the end was reached.

        Raises `KafkaException` for an error that librdkafka does not mend by itself, `ChangelogUnreadable`.
        """
        first = self._reader.poll(seconds)
        messages = [] if first is None else [first, *self._reader.consume(BATCH, 0)]
        ends = [self._take(ledger, message) for message in messages]
        if any(ends):
            for job, message in self._unread.items():
                ledger.load(job, state_of(message, message.value() or b""))
            self._unread.clear()
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
        self._unread.pop(job, None)
        if value is None:
            ledger.load(job, None)
        elif (record := record_of(message, value)).status.ended:
            ledger.load_ended(record, message.offset() or 0)
        else:
            self._unread[job] = message
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


STATE = ("ce_type", envelope.type_of(JobState).encode())


def record_of(message: Message, value: bytes) -> JobRecord:
    """What replay reads of a record. Raises `ChangelogUnreadable`."""
    try:
        if STATE in clients.headers_of(message):
            return read_record(value)
    except (UnreadableState, StateTooNew) as error:
        raise unreadable(message, str(error)) from None
    raise unreadable(message, f"it has not the header {STATE}")


def state_of(message: Message, value: bytes) -> JobState:
    """The state as this release carries it on. Raises `ChangelogUnreadable`."""
    try:
        event, _ = envelope.read(value, clients.headers_of(message))
        if isinstance(event, JobState):
            return event.migrated
    except (UnreadableEvent, StateTooNew) as error:
        raise unreadable(message, str(error)) from None
    raise unreadable(message, f"it holds a {type(event).__name__}")


def unreadable(message: Message, why: str) -> ChangelogUnreadable:
    place = f"{message.topic()} of cell {message.partition()}, offset {message.offset()}"
    return ChangelogUnreadable(f"{place}: {why}")
