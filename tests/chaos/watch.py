"""What the line writes while it is hit: read in passing, so that the schedule of the faults is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from infra.local.topics import partitions
from runtime.settings import Settings
from schemas.events.completions import Completion
from schemas.events.progress import StepProgress
from schemas.job import JobState
from streams.kafka import clients
from streams.kafka.reader import event_of
from streams.kafka.topics import COMPLETIONS, JOBS, PROGRESS

BATCH, WAIT_S = 500, 0.02


@dataclass
class Watched:
    """`histories`: states of each job, oldest first. `completions` and `steps` in the order of reading."""

    histories: dict[str, list[JobState]] = field(default_factory=dict)
    completions: list[Completion] = field(default_factory=list)
    steps: list[StepProgress] = field(default_factory=list)

    @property
    def ended(self) -> set[str]:
        return {end.job for end in self.completions}

    def take(self, event: object) -> None:
        if isinstance(event, JobState):
            self.histories.setdefault(event.job, []).append(event)
        elif isinstance(event, Completion):
            self.completions.append(event)
        elif isinstance(event, StepProgress):
            self.steps.append(event)


class Watch:
    """A reader of committed records that never waits for long, also while the broker is away."""

    def __init__(self, settings: Settings) -> None:
        self.seen = Watched()
        self._consumer = clients.consumer(clients.READER, settings, enable_partition_eof=False)
        self._consumer.assign([
            TopicPartition(topic.named(settings.topic_prefix), partition, OFFSET_BEGINNING)
            for topic in (JOBS, COMPLETIONS, PROGRESS)
            for partition in range(partitions(topic, settings.cells))
        ])  # fmt: skip

    def look(self) -> None:
        """Take in what there is, a batch at most."""
        for message in self._consumer.consume(BATCH, WAIT_S):
            error = message.error()
            if error is None:
                self.seen.take(event_of(message))
            elif not clients.is_mended(error):
                raise KafkaException(error)

    def close(self) -> None:
        self._consumer.close()
