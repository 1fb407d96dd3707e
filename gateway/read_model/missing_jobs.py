"""Creates of which `jobs` never tells, as when the coordinator refuses the gateway's signature.

Each stands in the read model as a row of version 0. That the coordinator is away is no reason to give one up: a job is
missing only once the coordinators' group has committed `prompts` beyond it, and what `jobs` had by then has been read.
A row that was given up too early, whatever the reason, is put right by the first state that tells of its job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event, Thread

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from sqlalchemy.exc import SQLAlchemyError

from gateway.read_model.read_model import ReadModel
from runtime.settings import Settings
from schemas.errors import NotTakenIn
from streams.kafka import clients
from streams.kafka.topics import PROMPTS

LOOK_EVERY_S = 5.0
USUAL_S = 10.0
"""Within this `jobs` tells of a create, unless something is wrong."""
GRACE_S = 30.0
"""A transaction's offsets may be seen before its records are, by less than its timeout of 10 s."""
KEPT_S = 8 * 24 * 3600.0
"""How long such a row is kept: longer than a prompt is."""
ANSWER_WITHIN_S = 10.0

Offsets = Mapping[int, int]
"""By partition of `prompts`."""

log = structlog.get_logger(__name__)


@dataclass
class Missing:
    """Tells the jobs that are missing from those that wait. Times are unix seconds."""

    marks: dict[str, Offsets] = field(default_factory=dict)
    """Job to where `prompts` ended when it was first looked at: its own record lies before."""
    passed: dict[str, float] = field(default_factory=dict)
    """Job to when the coordinator was first seen beyond its mark."""

    def due(
        self, waiting: Collection[str], ends: Offsets, committed: Offsets, read_until: float, now: float
    ) -> list[str]:
        """The jobs to give up now. `read_until`: all of `jobs` that was written before has been read."""
        self.marks = {job: self.marks.get(job, ends) for job in waiting}
        beyond = [job for job, mark in self.marks.items() if all(committed.get(p, 0) >= mark[p] for p in mark)]
        self.passed = {job: self.passed.get(job, now) for job in beyond}
        return [job for job, since in self.passed.items() if since + GRACE_S < min(read_until, now)]


class MissingJobs:
    """Looks for them in a thread of its own; `tell` hears of each that was given up."""

    def __init__(
        self, settings: Settings, model: ReadModel, read_until: Callable[[], float],
        tell: Callable[[Collection[str]], None],
    ) -> None:  # fmt: skip
        self._settings, self._model, self._read_until, self._tell = settings, model, read_until, tell
        self._missing = Missing()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="missing-jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self._turn(time.time())
            except (KafkaException, SQLAlchemyError) as error:
                log.warning("whether creates are missing cannot be told now", error=str(error))

    def _turn(self, now: float) -> None:
        self._model.forget_expected(now - KEPT_S)
        waiting = self._model.all_expected(now - USUAL_S)
        if not waiting:
            return
        ends, committed = self._offsets()
        jobs = self._missing.due(waiting, ends, committed, self._read_until(), now)
        error = NotTakenIn("the line has not taken this request in; ask its operator, and send it again").report()
        for job in jobs:
            if self._model.give_up(job, error, now):
                log.error("the line never told of a create", job=job)
        self._tell(jobs)

    def _offsets(self) -> tuple[Offsets, Offsets]:
        """Where `prompts` ends, open transactions included, and what the coordinators have committed of it."""
        group = f"{self._settings.topic_prefix}{clients.COORDINATORS_GROUP}"
        reader = clients.consumer(clients.TOOL, self._settings, group_id=group, isolation_level="read_uncommitted")
        with closing(reader):
            places = places_of(reader, PROMPTS.named(self._settings.topic_prefix))
            ends = {
                place.partition: reader.get_watermark_offsets(place, timeout=ANSWER_WITHIN_S)[1] for place in places
            }
            committed = {
                place.partition: max(place.offset, 0) for place in reader.committed(places, timeout=ANSWER_WITHIN_S)
            }
        return ends, committed


def places_of(reader: Consumer, topic: str) -> list[TopicPartition]:
    found = reader.list_topics(topic, timeout=ANSWER_WITHIN_S).topics[topic]
    return [TopicPartition(topic, number) for number in found.partitions]
