"""A worker's loop without the threads beside it: an event at a time, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schemas import envelope
from schemas.events.artifacts import ArtifactRef
from schemas.events.reports import Heartbeat, Outcome
from schemas.events.tasks import Task
from schemas.stage import Stage
from stages.results import Result
from stages.storage.spool import Entry
from streams.kafka.addressing import address_of, extensions_of
from streams.worker.compute.messages import FromChild, Ready, ToChild
from streams.worker.compute.process import ChildMessage
from streams.worker.loop.inbox import InboxRecord
from streams.worker.loop.reporter import Delivered
from streams.worker.loop.worker import Worker
from tests.unit.streams.usage.test_reducers import RECIPE


@dataclass
class Recorder:
    """Stands where compute child, reporter, uploader and inboxes stand, and keeps what it is told."""

    generation: int = 1
    pid: int = 0
    to_child: list[ToChild] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    def look(self) -> None:
        pass

    def drop(self, lease: int) -> None:
        self.dropped.append(lease)

    def send(self, message: ToChild) -> None:
        self.to_child.append(message)

    def start(self) -> None:
        self.generation += 1

    def outcome(self, outcome: Outcome, traceparent: str | None) -> None:
        self.outcomes.append(outcome)

    def heartbeat(self, beat: Heartbeat) -> None:
        self.beats.append(beat)

    def progress(self, progress: object) -> None:
        pass

    def listed(self) -> tuple[()]:
        return ()

    def record_read(self, letter: InboxRecord) -> None:
        pass


@dataclass
class Bench:
    worker: Worker
    record: Recorder

    def task(self, lease: int, incarnation: str | None = None) -> Task:
        task = task_of(lease, incarnation or self.worker.incarnation)
        self.read(task)
        return task

    def read(self, event: Any, value: bytes | None = None) -> None:
        data, headers = envelope.write(event, id="1", source="test", time=0.0, extensions=extensions_of(event))
        self.worker._handle(InboxRecord(Stage.DENOISE, address_of(headers), value or data, headers))

    def running(self, *leases: int) -> None:
        for lease in leases:
            self.task(lease)
            self.worker._handle(Delivered(lease, started=True))

    def hear(self, message: FromChild) -> None:
        self.worker._handle(ChildMessage(self.record.generation, message))

    def warm(self) -> None:
        self.hear(Ready(("denoise/tiny",), "cpu"))

    def last(self) -> Outcome:
        return self.record.outcomes[-1]


def task_of(lease: int, incarnation: str) -> Task:
    return Task(
        incarnation=incarnation, lease=lease, job=f"job-{lease}", tenant="acme", stage=Stage.DENOISE, key="key",
        recipe=RECIPE, attempt=1,
    )  # fmt: skip


def result() -> Result:
    return Result(ArtifactRef(stage=Stage.DENOISE, key="key", manifest_key="m", etag="e"), (), 1.0, False)


def entry(task: Task) -> Entry:
    return Entry(task=task, objects=(), facts={}, bit_class="cpu", timings={})
