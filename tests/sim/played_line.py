"""A core without broker or clock, and the workers that a test plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from schemas import store_layout
from schemas.bundle import read_bundles
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.prompts import PromptSubmitted
from schemas.events.reports import Done, Failed, Heartbeat, HeldLease, HeldState, Inbox, InputMissing, Started, Tick
from schemas.events.tasks import Task
from schemas.stage import STAGES
from schemas.stage_keys import identity_of
from streams.coordinator.core import intake, membership, outcomes, placement
from streams.coordinator.core.effects import Complete, Effect, Send
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger

PROMPT = PromptSubmitted(prompt="a red square moving right on a blue background", idempotency_key="one")


@dataclass
class Line:
    """A core and the workers that a test plays."""

    ledger: Ledger = field(default_factory=Ledger)
    policy: Policy = field(default_factory=lambda: Policy(bundles=read_bundles([Path("bundles/tiny")])))
    now: float = 1000.0
    changelog: dict[str, bytes] = field(default_factory=dict)
    """What is durable of jobs, by their ids."""

    def commit(self) -> None:
        for job, state in self.ledger.jobs.changes.items():
            self.changelog.pop(job, None)
            if state is not None:
                self.changelog[job] = state.to_bytes()
        self.ledger.commit()

    def submit(self, asked: PromptSubmitted = PROMPT, source: str = "test", id: str = "id") -> list[Effect]:
        return intake.submit(self.ledger, self.policy, asked, identity_of(asked, source, id), Raw(b"raw"), self.now)

    def beat(
        self, name: str, *leases: HeldLease, life: int = 1, echo: int = 0, slots: int = 1, node: str = "",
        bit_class: str = "", draining: bool = False, leaving: bool = False, last_end: str | None = None,
        revision: str | None = None,
    ) -> list[Effect]:  # fmt: skip
        inboxes = tuple(Inbox(stage=stage, partition=3, echo=echo) for stage in STAGES)
        beat = Heartbeat(
            incarnation=f"{name}-{life}", worker=name, node=node or name, started_at=float(life), inboxes=inboxes,
            slots=slots, leases=leases, bundles=("tiny",), bit_class=bit_class, draining=draining, leaving=leaving,
            last_end=last_end, revisions={"tiny": revision} if revision else {},
        )  # fmt: skip
        return membership.heartbeat(self.ledger, self.policy, beat, self.now)

    def tick(self, number: int = 0, after_gap: bool = False) -> list[Effect]:
        event = Tick(cell=0, coordinator=self.policy.coordinator, number=number, after_gap=after_gap)
        return membership.tick(self.ledger, self.policy, event, self.now)

    def task(self) -> Task:
        """The one task that placement hands out."""
        [task] = [e.event for e in placement.place(self.ledger, self.now) if isinstance(e, Send)]
        assert isinstance(task, Task)
        return task

    def report(self, outcome: Done | Failed | Started | InputMissing) -> list[Effect]:
        return outcomes.resolve(self.ledger, self.policy, outcome, self.now)

    @property
    def job(self) -> str:
        [state] = self.ledger.jobs.values()
        return state.job


def names(task: Task) -> dict[str, object]:
    return {
        "incarnation": task.incarnation, "worker": task.incarnation[:-2], "lease": task.lease, "job": task.job,
        "stage": task.stage, "key": task.key,
    }  # fmt: skip


def done(task: Task, etag: str = "etag") -> Done:
    place = store_layout.folder(task.tenant, task.stage, task.key, task.job)
    ref = ArtifactRef(stage=task.stage, key=task.key, manifest_key=f"{place}/{store_layout.MANIFEST}", etag=etag)
    video = ObjectRef(name="video", key=f"{place}/v", size=1, sha256="0")
    return Done(**names(task), artifact=ref, objects=(video,), seconds=1.0)


def failed(task: Task, kind: ErrorKind) -> Failed:
    return Failed(**names(task), error=ErrorReport(kind=kind, code="code", message="m"))


def ends(effects: list[Effect]) -> list[object]:
    return [effect.event for effect in effects if isinstance(effect, Complete)]


def held(task: Task, **more: int) -> HeldLease:
    return HeldLease(lease=task.lease, job=task.job, stage=task.stage, state=HeldState.RUNNING, **more)
