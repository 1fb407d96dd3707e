"""Everything a coordinator knows of its cell: jobs (durable), workers and leases (rebuilt), and what waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from schemas.events import Heartbeat, HeldLease
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage
from streams.coordinator.overlay import Overlay

HELD = -1
"""Held until the first tick of this coordinator has been read back."""


@dataclass(frozen=True)
class WorkerView:
    """One incarnation as the coordinator sees it: its last heartbeat, and the leases placed on it."""

    beat: Heartbeat
    seen_tick: int
    leases: frozenset[int] = frozenset()
    cancelled: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()
    """Leases whose outcome has been read while the last heartbeat still lists them: their slots are free."""
    unread: tuple[tuple[Stage, int], ...] = ()
    """Inboxes that left a task unread for too long, with the echo at which that was seen."""

    def held(self, lease: int) -> HeldLease | None:
        return next((held for held in self.beat.leases if held.lease == lease), None)

    @property
    def occupied(self) -> int:
        """Slots in use: our leases, and those it lists that are no longer ours (protocol rule 9)."""
        return len(self.leases | ({held.lease for held in self.beat.leases} - self.ended))

    @property
    def free(self) -> int:
        return 0 if self.beat.draining else max(self.beat.slots - self.occupied, 0)

    def partition(self, stage: Stage) -> int | None:
        return next((inbox.partition for inbox in self.beat.inboxes if inbox.stage == stage), None)

    def echo(self, stage: Stage) -> int:
        return next((inbox.echo for inbox in self.beat.inboxes if inbox.stage == stage), 0)


@dataclass(frozen=True)
class LiveLease:
    """A lease in force: its job, and the tick at which it was dispatched (or first seen after a takeover)."""

    job: str
    tick: int


@dataclass
class Ledger:
    """Changes are visible at once and durable at `commit`; `rollback` returns to the last commit."""

    jobs: Overlay[str, JobState] = field(default_factory=Overlay)
    workers: Overlay[str, WorkerView] = field(default_factory=Overlay)
    names: Overlay[str, str] = field(default_factory=Overlay)
    """Worker name to its newest incarnation."""
    leases: Overlay[int, LiveLease] = field(default_factory=Overlay)
    numbers: Overlay[str, int] = field(default_factory=Overlay)
    waiting: dict[Stage, list[tuple[int, float, str]]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    delayed: list[tuple[float, str]] = field(default_factory=list)
    stubs: list[tuple[float, str]] = field(default_factory=list)
    """Ended jobs by the time of their end, unix seconds."""

    @property
    def overlays(self) -> tuple[Overlay[str, JobState], ...]:
        return (self.jobs, self.workers, self.names, self.leases, self.numbers)  # type: ignore[return-value]

    def commit(self) -> None:
        for overlay in self.overlays:
            overlay.commit()

    def rollback(self) -> None:
        for overlay in self.overlays:
            overlay.rollback()
        self.rebuild_queues()

    def load(self, job_id: str, state: JobState | None) -> None:
        """Replay one record of the changelog; a tombstone is None. Call `rebuild_queues` after the last."""
        if state is None:
            self.jobs.base.pop(job_id, None)
        else:
            self.jobs.base[job_id] = state
            self.raise_lease(max([a.lease for a in state.attempts] + [state.lease.number if state.lease else 0]))
            self.numbers.commit()

    def rebuild_queues(self) -> None:
        self.waiting, self.delayed, self.stubs = {stage: [] for stage in STAGES}, [], []
        for state in self.jobs.values():
            self.enqueue(state)

    def take_over(self) -> None:
        """After a replay: leases that jobs hold are in force again, and nothing is placed before a grace period."""
        self.rebuild_queues()
        self.numbers["hold_until"] = HELD
        for state in self.jobs.values():
            if state.lease is not None:
                self.leases[state.lease.number] = LiveLease(state.job, self.tick)
        self.commit()

    def put(self, state: JobState, now: float) -> JobState:
        """Record a new state of a job, one version on."""
        before = self.jobs.get(state.job)
        state = state.model_copy(update={"version": before.version + 1 if before else 1, "updated_at": now})
        self.jobs[state.job] = state
        self.track_lease(before, state)
        self.enqueue(state)
        return state

    def track_lease(self, before: JobState | None, after: JobState) -> None:
        old, new = before.lease if before else None, after.lease
        if old and (new is None or new.number != old.number):
            self.leases.remove(old.number)
            self.update_worker(old.incarnation, lambda view: replace(view, leases=view.leases - {old.number}))
        if new and (old is None or new.number != old.number):
            self.leases[new.number] = LiveLease(after.job, self.tick)
            self.update_worker(new.incarnation, lambda view: replace(view, leases=view.leases | {new.number}))

    def update_worker(self, incarnation: str, change: Callable[[WorkerView], WorkerView]) -> None:
        view = self.workers.get(incarnation)
        if view is not None:
            self.workers[incarnation] = change(view)

    def enqueue(self, state: JobState) -> None:
        if state.status.ended:
            heapq.heappush(self.stubs, (state.ended_at or state.updated_at, state.job))
        if state.status is not JobStatus.WAITING or state.stage is None:
            return
        due = state.stages[state.stage].not_before
        if due > state.updated_at:
            heapq.heappush(self.delayed, (due, state.job))
        else:
            heapq.heappush(self.waiting[state.stage], (-state.priority, state.accepted_at, state.job))

    def job_of(self, lease: int) -> JobState | None:
        """The job that holds a live lease."""
        live = self.leases.get(lease)
        return self.jobs.get(live.job) if live else None

    @property
    def tick(self) -> int:
        return self.numbers.get("tick") or 0

    @property
    def is_held(self) -> bool:
        """Whether a grace period holds, in which nothing is placed (protocol rule 15)."""
        until = self.numbers.get("hold_until") or 0
        return until == HELD or self.tick < until

    def hold(self, ticks: int) -> None:
        """Place nothing for so many ticks from now."""
        self.numbers["hold_until"] = self.tick + ticks

    def forget_stubs(self, before: float) -> None:
        """Let go of jobs that ended before a time, unix seconds: no replayed prompt can name them any more."""
        while self.stubs and self.stubs[0][0] < before:
            _, job = heapq.heappop(self.stubs)
            state = self.jobs.get(job)
            if state is not None and state.status.ended:
                self.jobs.remove(job)

    def next_lease(self) -> int:
        number = (self.numbers.get("lease") or 0) + 1
        self.numbers["lease"] = number
        return number

    def raise_lease(self, seen: int) -> None:
        """Lease numbers rise a cell, also past what a live inbox has already read (protocol rule 8)."""
        if seen > (self.numbers.get("lease") or 0):
            self.numbers["lease"] = seen
