"""The leases that a worker holds, from the task that was read to the outcome that the broker has. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from schemas.base import construct
from schemas.events.reports import HeldLease, HeldState
from schemas.events.tasks import Task
from streams.worker.compute.messages import Interruption

STUCK_STEPS = 20
"""A step that takes so many times as long as the one before it hangs."""


class Phase(StrEnum):
    """What the lease waits for: its Started to be delivered; a warm child; the child's end; the store, which is away;
    its outcome's delivery."""

    START_PENDING = "announced"
    START_ACKED = "counted"
    RUNNING = "running"
    PARKED = "parked"
    REPORTING = "ending"


SHOWN = {Phase.PARKED: HeldState.PARKED, Phase.REPORTING: HeldState.ENDING}


class ActiveTask(NamedTuple):
    task: Task
    traceparent: str | None = None
    phase: Phase = Phase.START_PENDING
    interruption: Interruption | None = None
    step: int | None = None
    steps: int | None = None
    step_seconds: float | None = None
    checkpoint_step: int | None = None
    preview_step: int | None = None
    moved_at: float = 0.0
    """When the child last gave a sign of work on it, monotonic seconds."""

    def is_stuck(self, now: float, least: float) -> bool:
        """Whether it has been silent for longer than its own pace explains, and for at least `least` seconds."""
        return self.phase is Phase.RUNNING and now - self.moved_at > max(
            least, STUCK_STEPS * (self.step_seconds or 0.0)
        )

    @property
    def seconds_left(self) -> float | None:
        """By the pace of its latest step; None for work that says nothing of its steps."""
        if self.step is None or self.steps is None or self.step_seconds is None:
            return None
        return (self.steps - self.step) * self.step_seconds

    def listed(self) -> HeldLease:
        return construct(
            HeldLease, lease=self.task.lease, job=self.task.job, stage=self.task.stage, step=self.step,
            state=SHOWN.get(self.phase, HeldState.RUNNING), checkpoint_step=self.checkpoint_step,
        )  # fmt: skip


class LeaseTable:
    """By lease number. A lease stays listed until its outcome is delivered (protocol rule 4)."""

    def __init__(self) -> None:
        self._held: dict[int, ActiveTask] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, lease: int) -> bool:
        return lease in self._held

    def get(self, lease: int) -> ActiveTask | None:
        return self._held.get(lease)

    def take(self, task: Task, traceparent: str | None, phase: Phase = Phase.START_PENDING) -> ActiveTask:
        held = self._held[task.lease] = ActiveTask(task, traceparent, phase)
        return held

    def change(self, lease: int, **changes: object) -> ActiveTask | None:
        """The lease with fields changed; None, and nothing done, for one that is not held."""
        held = self._held.get(lease)
        if held is None:
            return None
        held = self._held[lease] = held._replace(**changes)  # type: ignore[arg-type]
        return held

    def delivered(self, lease: int) -> None:
        self._held.pop(lease, None)

    def of_phase(self, *phases: Phase) -> list[ActiveTask]:
        return [held for held in self._held.values() if held.phase in phases]

    def listed(self) -> tuple[HeldLease, ...]:
        return tuple(held.listed() for held in self._held.values())


def fields_of(task: Task, worker: str) -> dict[str, Any]:
    """What every outcome says of its lease."""
    return {
        "incarnation": task.incarnation, "worker": worker, "lease": task.lease, "job": task.job, "stage": task.stage,
        "key": task.key,
    }  # fmt: skip
