"""A worker that a test plays by hand: the protocol's side of it on the real broker, with no compute behind."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from confluent_kafka import Producer

from runtime.settings import Settings
from schemas import envelope, store_layout
from schemas.base import Frozen
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.reports import Done, Heartbeat, HeldLease, HeldState, Inbox, Started
from schemas.events.tasks import Task
from schemas.stage import STAGES, Stage
from streams.kafka import clients
from streams.kafka.addressing import extensions_of
from streams.kafka.topics import REPORTS, TASKS
from tests.processes import Tail


@dataclass
class PlayedWorker:
    """Serves every stage unless told otherwise. `tasks` reads its inboxes; what it does with them the test decides."""

    settings: Settings
    name: str = "played"
    slots: int = 4
    life: float = 1.0
    stages: tuple[Stage, ...] = STAGES
    incarnation: str = field(default_factory=lambda: f"played-{uuid.uuid4().hex[:8]}")
    held: dict[int, Task] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._producer: Producer = clients.producer(clients.REPORTER, self.settings)
        self._inboxes = Tail(self.settings, *(TASKS[stage] for stage in self.stages))
        self._echo = 0

    def beat(self, **changes: object) -> None:
        inboxes = tuple(Inbox(stage=stage, partition=3, echo=self._echo) for stage in self.stages)
        leases = tuple(
            HeldLease(lease=task.lease, job=task.job, stage=task.stage, state=HeldState.RUNNING)
            for task in self.held.values()
        )
        beat = Heartbeat(
            incarnation=self.incarnation, worker=self.name, node="node", started_at=self.life, inboxes=inboxes,
            slots=self.slots, bundles=("tiny",), leases=leases,
        )  # fmt: skip
        self.say(beat.model_copy(update=changes))

    def tasks(self) -> list[Task]:
        """Every task addressed to it so far, oldest first. A heartbeat goes out at each call, as it would in time."""
        seen = [
            event
            for event in self._inboxes.events()
            if isinstance(event, Task) and event.incarnation == self.incarnation
        ]
        self._echo = max((task.lease for task in seen), default=self._echo)
        self.held = {task.lease: task for task in seen if task.lease not in self.ended}
        self.beat()
        return sorted(seen, key=lambda task: task.lease)

    def start(self, task: Task) -> None:
        self.say(Started(**self.fields(task)))

    def finish(self, task: Task) -> None:
        place = store_layout.folder(task.tenant, task.stage, task.key, task.job)
        ref = ArtifactRef(
            stage=task.stage, key=task.key, manifest_key=f"{place}/{store_layout.MANIFEST}", etag=uuid.uuid4().hex
        )
        video = ObjectRef(name="video", key=f"{place}/v.mp4", size=1, sha256="0" * 64)
        self.say(Done(**self.fields(task), artifact=ref, objects=(video,), seconds=0.5))
        self.ended.add(task.lease)

    def work(self) -> None:
        """Do every task that has come."""
        for task in self.tasks():
            if task.lease not in self.ended:
                self.start(task)
                self.finish(task)

    def fields(self, task: Task) -> dict[str, object]:
        return {
            "incarnation": self.incarnation, "worker": self.name, "lease": task.lease, "job": task.job,
            "stage": task.stage, "key": task.key,
        }  # fmt: skip

    def say(self, event: Frozen) -> None:
        value, headers = envelope.write(
            event, id=uuid.uuid4().hex, source="test", time=1.8e9, extensions=extensions_of(event)
        )
        self.say_raw(value, headers, self.incarnation)

    def say_raw(self, value: bytes, headers: envelope.Headers, key: str) -> None:
        topic = REPORTS.named(self.settings.topic_prefix)
        self._producer.produce(topic, value, key, 0, headers=[*headers])
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        self._inboxes.close()
