"""How far the views are behind their sources, asked of the broker and not of Faust.

Faust can be alive and dead: its consumer may stop without a word, and would then report no lag either. A reader of
its own looks for a committed record at or after the next one to be taken in. Finding none is the only proof of having
everything: the end offset of a topic written in transactions also counts markers, which no reader ever sees.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from runtime import metrics
from runtime.settings import Settings
from runtime.watchdog import Turns
from streams.kafka import clients
from streams.kafka.topics import COMPLETIONS, JOBS

SOURCES = (JOBS, COMPLETIONS)
Position = tuple[str, int]
"""Topic and partition."""
ANSWER_WITHIN_S = 10.0

log = structlog.get_logger(__name__)


class Progress:
    """Probes from its own thread between `__enter__` and `__exit__`; any thread may read the answers."""

    def __init__(
        self, settings: Settings, taken: Mapping[Position, int], stuck_after: float = 60.0, interval: float = 5.0
    ) -> None:
        """`taken`: next offset to be taken in of each partition, kept up to date by the reader that is watched.

        `stuck_after` and `interval` (between two probes, once it has caught up) are seconds.
        """
        self.lag: dict[str, int] | None = None
        """Records behind, by topic of the table; None until the broker has answered."""
        self.caught_up_once = threading.Event()
        self.on_stuck: Callable[[], object] = lambda: None
        self._settings, self._taken, self._watch = settings, taken, clients.ErrorWatch()
        self._stuck_after, self._interval = stuck_after, interval
        self._moved_at, self._seen = time.monotonic(), dict[Position, int]()
        self.turns = Turns("probe")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def reason(self) -> str | None:
        """Why the views are not ready, or None."""
        if (stalled := self.turns.reason(self._settings.stuck_after_s)) is not None:
            return stalled
        if self.lag is None:
            return "the broker has not answered yet"
        behind = sum(self.lag.values())
        if not self.caught_up_once.is_set():
            return f"rebuilding: {behind} records to go"
        if self.is_stuck:
            return f"no record taken in for {self._stuck_after:g} s, {behind} are waiting"
        return None

    @property
    def is_stuck(self) -> bool:
        waiting = bool(self.lag and any(self.lag.values()))
        return waiting and time.monotonic() - self._moved_at > self._stuck_after

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        reader = clients.consumer(clients.READER, self._settings, self._watch)
        try:
            while not self._stop.wait(self._interval if self.caught_up_once.is_set() else 0.2):
                self._turn(reader)
        finally:
            reader.close()

    def _turn(self, reader: Consumer) -> None:
        try:
            self._note(self.probe(reader))
        except KafkaException as error:
            # Nobody is stuck while the broker is away.
            self._moved_at = time.monotonic()
            log.warning("cannot ask the broker how far the views are behind", error=str(error))
            if self._watch.fatal:
                self.on_stuck()
            return
        if self.is_stuck:
            log.error("the views have stopped taking in records", lag=self.lag)
            self.on_stuck()

    def _note(self, lag: dict[str, int]) -> None:
        taken = dict(self._taken)
        if taken != self._seen or not any(lag.values()):
            self._moved_at, self._seen = time.monotonic(), taken
        self.lag = lag
        for topic, behind in lag.items():
            metrics.VIEWS_LAG.labels(topic=topic).set(behind)
        if not any(lag.values()):
            self.caught_up_once.set()

    def probe(self, reader: Consumer) -> dict[str, int]:
        """Records behind, by topic. Raises `KafkaException` when the broker does not answer."""
        return {topic.name: self._behind(reader, topic.named(self._settings.topic_prefix)) for topic in SOURCES}

    def _behind(self, reader: Consumer, topic: str) -> int:
        self.turns.turned()
        found = reader.list_topics(topic, ANSWER_WITHIN_S).topics[topic]
        clients.raise_for(found.error)
        return sum(
            behind(reader, topic, partition, self._taken.get((topic, partition))) for partition in found.partitions
        )


def behind(reader: Consumer, topic: str, partition: int, next_offset: int | None) -> int:
    """Records of a partition from `next_offset` on (None: from its start), at least 1 if there is one.

    The markers of transactions between them are counted too. Raises `KafkaException`.
    """
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING if next_offset is None else next_offset)])
    try:
        message = reader.poll(ANSWER_WITHIN_S)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        clients.raise_for(message.error())
        if message.error() is not None:
            return 0
        _, end = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_WITHIN_S)
        return max(end - (message.offset() or 0), 1)
    finally:
        reader.unassign()
