"""Everything a coordinator knows of its cell: jobs (durable), workers and leases (rebuilt), and what waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from schemas.events.reports import Heartbeat, HeldLease, HeldState, Outcome
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import STAGES, Stage
from streams.coordinator.core.retry import age_from
from streams.coordinator.core.state.breaker import Breaker, RecentlyEnded, rebuilt
from streams.coordinator.core.state.free_slots import Offer, OpenWorkers, offers_of
from streams.coordinator.core.state.nodes import Nodes
from streams.coordinator.core.state.tombstone import (
    NO_OFFSET,
    EndedJob,
    JobRecord,
    ended_job,
    newest_lease,
    retention_start,
)
from streams.coordinator.core.state.write_buffer import WriteBuffer
from streams.coordinator.core.transitions import is_suspect

TOMBSTONES_A_TICK = 1000
"""More wait for the next one: after a week of standing still all would come in one transaction."""

HELD = -1
"""Held until the first tick of this coordinator has been read back."""

Entry = tuple[int, float, str]
"""A job in a queue: minus its priority, from when its age counts, its id."""


class Kind(NamedTuple):
    """What the jobs of one queue ask of a worker: the model, with these weights, and a node that holds nothing else."""

    model: str
    revision: str
    alone: bool


class WorkerView(NamedTuple):
    """One incarnation as the coordinator sees it: its last heartbeat, and the leases placed on it."""

    beat: Heartbeat
    seen_tick: int
    leases: frozenset[int] = frozenset()
    cancelled: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()
    """Leases whose outcome has been read while the last heartbeat still lists them: their slots are free."""
    unread: tuple[tuple[Stage, int], ...] = ()
    """Inboxes that left a task unread for too long, with the echo at which that was seen."""
    told_to_leave: bool = False
    """An operator has asked for it; its own heartbeats will say so too."""

    @property
    def is_leaving(self) -> bool:
        return self.beat.draining or self.told_to_leave

    def held(self, lease: int) -> HeldLease | None:
        return next((held for held in self.beat.leases if held.lease == lease), None)

    @property
    def occupied(self) -> int:
        """Slots in use: our leases, and those listed that are no longer ours (rule 9). Parked work has none."""
        if not self.beat.leases:
            return len(self.leases)
        listed = [held.lease for held in self.beat.leases if held.lease not in self.ended]
        return len(self.leases.union(listed) - self.parked) if listed else len(self.leases)

    @property
    def parked(self) -> frozenset[int]:
        """Leases whose finished work waits there for the store."""
        return frozenset(held.lease for held in self.beat.leases if held.state is HeldState.PARKED)

    @property
    def free(self) -> int:
        return self.free_beside(self.occupied)

    def free_beside(self, occupied: int) -> int:
        return 0 if self.is_leaving else max(self.beat.slots - occupied, 0)

    def offers(self, empty: bool) -> tuple[Offer, ...]:
        """What may be placed on it, if it has a free slot."""
        return offers_of(self.beat, tuple([stage for stage, _ in self.unread]), empty)

    def partition(self, stage: Stage) -> int | None:
        for inbox in self.beat.inboxes:
            if inbox.stage is stage:
                return inbox.partition
        return None

    def echo(self, stage: Stage) -> int:
        for inbox in self.beat.inboxes:
            if inbox.stage is stage:
                return inbox.echo
        return 0


class LiveLease(NamedTuple):
    """A lease in force: its job, and the tick at which it was dispatched (or first seen after a takeover).

    `parked_tick`: the one at which its finished work was first seen to wait for the store.
    """

    job: str
    incarnation: str
    tick: int
    started: bool = False
    parked_tick: int | None = None


@dataclass
class Ledger:
    """Changes are visible at once and durable at `commit`; `rollback` returns to the last commit."""

    jobs: WriteBuffer[str, JobState] = field(default_factory=WriteBuffer)
    """Jobs that have not ended, and until the next commit those that just have."""
    ended: dict[str, EndedJob] = field(default_factory=dict)
    """Jobs whose end is committed."""
    workers: WriteBuffer[str, WorkerView] = field(default_factory=WriteBuffer)
    names: WriteBuffer[str, str] = field(default_factory=WriteBuffer)
    """Worker name to its newest incarnation."""
    leases: WriteBuffer[int, LiveLease] = field(default_factory=WriteBuffer)
    numbers: WriteBuffer[str, int] = field(default_factory=WriteBuffer)
    breakers: WriteBuffer[Stage, Breaker] = field(default_factory=WriteBuffer)
    drains: WriteBuffer[str, str] = field(default_factory=WriteBuffer)
    """Workers that were asked to leave before they were heard of, with the reason."""
    waiting: dict[Stage, dict[Kind, list[Entry]]] = field(default_factory=lambda: {stage: {} for stage in STAGES})
    """Heaps. An entry may be stale: what counts is the job's state."""
    delayed: list[tuple[float, str]] = field(default_factory=list)
    retained: list[tuple[float, str]] = field(default_factory=list)
    """A heap: ended jobs by the Unix time, in seconds, from which their retention counts."""
    recent: RecentlyEnded = field(default_factory=RecentlyEnded)
    """What replay keeps of them for the breakers."""
    open: OpenWorkers = field(default_factory=OpenWorkers)
    nodes: Nodes = field(default_factory=Nodes)
    suspects: set[str] = field(default_factory=set)
    """Jobs that may hold a lease as suspects: a hint, checked at each placement."""
    orphans: dict[str, frozenset[int]] = field(default_factory=dict)
    """By incarnation: the leases that were in force at the takeover."""
    reserved: dict[str, str] = field(default_factory=dict)
    """Suspect job to an incarnation whose node is to become empty for it: a hint, checked at each placement."""

    @property
    def write_buffers(self) -> tuple[WriteBuffer[str, JobState], ...]:
        return (  # type: ignore[return-value]
            self.jobs, self.workers, self.names, self.leases, self.numbers, self.breakers, self.drains,
        )  # fmt: skip

    def known(self, job: str) -> JobState | EndedJob | None:
        """What there is of a job, whether it has ended or not."""
        return self.jobs.changes[job] if job in self.jobs.changes else self.jobs.base.get(job) or self.ended.get(job)

    def commit(self, offsets: Mapping[str, int] | None = None) -> None:
        """All changes are durable. Of a job that has ended its tombstone stays; `offsets`: where its state was written.

        What was written is to be read off the changes before.
        """
        for job, state in self.jobs.changes.items():
            self.ended.pop(job, None)
            if state is not None and state.status.ended:
                self.ended[job] = ended_job(state, (offsets or {}).get(job, NO_OFFSET))
                self.jobs.remove(job)
        for overlay in self.write_buffers:
            if overlay.changes:
                overlay.commit()

    def rollback(self) -> None:
        jobs, workers = list(self.jobs.changes), list(self.workers.changes)
        for overlay in self.write_buffers:
            overlay.rollback()
        for job in jobs:
            known = self.known(job)
            if isinstance(known, EndedJob):
                self.retain(known)
            elif known is not None:
                self.enqueue(known)
                self.index_suspect(known)
        for incarnation in workers:
            self.index_open(incarnation, self.workers.get(incarnation))

    def load(self, job_id: str, state: JobState | None) -> None:
        """Replay one record of the changelog; a tombstone is None. Call `rebuild_queues` after the last."""
        if state is not None and state.status.ended:
            return self.load_ended(state)
        self.unload(job_id)
        if state is not None:
            self.jobs.base[job_id] = state
            self.raise_lease(max(newest_lease(state), state.lease.number if state.lease else 0))
            self.numbers.commit()

    def load_ended(self, record: JobState | JobRecord, offset: int = NO_OFFSET) -> None:
        """Replay the record of an ended job, which stands at `offset` of the changelog."""
        job = ended_job(record, offset)
        self.unload(job.job)
        self.ended[job.job] = job
        self.recent.record(record)
        self.raise_lease(job.newest_lease)
        self.numbers.commit()

    def unload(self, job_id: str) -> None:
        self.jobs.base.pop(job_id, None)
        if self.ended.pop(job_id, None) is not None:
            self.recent.discard(job_id)

    def rebuild_queues(self) -> None:
        self.waiting, self.delayed = {stage: {} for stage in STAGES}, []
        self.retained = [(retention_start(job), job.job) for job in self.ended.values()]
        heapq.heapify(self.retained)
        for state in self.jobs.values():
            self.enqueue(state)

    def take_over(self) -> None:
        """After a replay: leases that jobs hold are in force again, and nothing is placed before a grace period."""
        self.rebuild_queues()
        self.numbers["hold_until"] = HELD
        for state in self.jobs.values():
            if state.lease is not None:
                number, incarnation = state.lease.number, state.lease.incarnation
                self.leases[number] = LiveLease(state.job, incarnation, self.tick, state.lease.started_at is not None)
                self.orphans[incarnation] = self.orphans.get(incarnation, frozenset()) | {number}
                self.index_suspect(state)
        for stage, breaker in rebuilt(chain(self.jobs.values(), self.recent)).items():
            self.breakers[stage] = breaker
        self.recent = RecentlyEnded()
        self.commit()

    def put(self, state: JobState, now: float, **changes: Any) -> JobState:
        """Record a new state of a job, one version on, with the last of its changes."""
        before = self.known(state.job)
        state = state.replace(version=before.version + 1 if before else 1, updated_at=now, **changes)
        self.jobs[state.job] = state
        old, new = before.lease if isinstance(before, JobState) else None, state.lease
        if new is not old:
            self.track_lease(state.job, old, new)
        if new is None:
            self.enqueue(state)
        else:
            self.index_suspect(state)
        return state

    def track_lease(self, job: str, old: Lease | None, new: Lease | None) -> None:
        """The lease that a job holds was `old` and is `new`."""
        if old and new and new.number == old.number:
            if new.started_at != old.started_at:
                self.leases[new.number] = self.leases[new.number]._replace(started=True)
            return
        if old:
            number = old.number
            self.leases.remove(number)
            view = self.workers.get(old.incarnation)
            if view is not None and number in view.leases:
                self.put_worker(view._replace(leases=view.leases - {number}))
        if new:
            number, incarnation = new.number, new.incarnation
            self.leases[number] = LiveLease(job, incarnation, self.tick, new.started_at is not None)
            view = self.workers.get(incarnation)
            if view is not None:
                self.put_worker(view._replace(leases=view.leases | {number}))

    def record_outcome(self, outcome: Outcome) -> None:
        """The outcome of a lease has been read: its slot is free, whatever the worker's last heartbeat lists."""
        lease, view = outcome.lease, self.workers.get(outcome.incarnation)
        if view is not None:
            live = self.leases.get(lease)
            is_in_force = live is not None and live.job == outcome.job
            leases = view.leases - {lease} if is_in_force else view.leases
            self.put_worker(view._replace(leases=leases, ended=view.ended | {lease}))

    def update_worker(self, incarnation: str, change: Callable[[WorkerView], WorkerView]) -> None:
        view = self.workers.get(incarnation)
        if view is not None:
            self.put_worker(change(view))

    def put_worker(self, view: WorkerView) -> None:
        incarnation = view.beat.incarnation
        self.workers[incarnation] = view
        self.index_open(incarnation, view)

    def remove_worker(self, incarnation: str) -> None:
        self.workers.remove(incarnation)
        self.index_open(incarnation, None)

    def index_open(self, incarnation: str, view: WorkerView | None) -> None:
        occupied = view.occupied if view else 0
        free = view.free_beside(occupied) if view else 0
        self.open.note(incarnation, view.offers(occupied == 0) if view and free else (), free)
        self.nodes.note(incarnation, view.beat.node if view and occupied else None)

    def index_suspect(self, state: JobState) -> None:
        if state.lease is not None and is_suspect(state):
            self.suspects.add(state.job)

    def enqueue(self, state: JobState) -> None:
        status, stage = state.status, state.stage
        if status.ended:
            self.retain(state)
        elif status is JobStatus.WAITING and stage is not None:
            due = state.stages[stage].not_before
            if due > state.updated_at:
                heapq.heappush(self.delayed, (due, state.job))
            else:
                self.enqueue_now(state)

    def enqueue_now(self, state: JobState) -> None:
        stage, recipe = state.stage, state.recipe
        assert stage is not None
        assert recipe is not None
        queue = self.waiting[stage].setdefault(Kind(recipe.model, recipe.revision, is_suspect(state)), [])
        heapq.heappush(queue, (-state.priority, age_from(state), state.job))

    def job_of(self, lease: int) -> JobState | None:
        """The job that holds a live lease."""
        live = self.leases.get(lease)
        return self.jobs.get(live.job) if live else None

    def acceptance(self, now: float) -> float:
        """When a job counts as accepted: now, but later than every one before it, so that order is kept in a batch."""
        microseconds = max(int(now * 1e6), (self.numbers.get("accepted") or 0) + 1)
        self.numbers["accepted"] = microseconds
        return microseconds / 1e6

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

    def retain(self, job: JobState | EndedJob) -> None:
        heapq.heappush(self.retained, (retention_start(job), job.job))

    def forget_ended(self, before: float) -> None:
        """Let go of jobs that ended before a time, unix seconds: no replayed prompt can name them any more.

        The one with the newest lease stays: from it the next life learns where the numbers go on. So does one that has
        ended again since: a job whose cancel had overtaken its prompt.
        """
        newest, forgotten = self.numbers.get("lease"), 0
        while self.retained and self.retained[0][0] < before and forgotten < TOMBSTONES_A_TICK:
            _, job = heapq.heappop(self.retained)
            known = self.known(job)
            if known is None or not known.status.ended or retention_start(known) >= before:
                continue
            if newest_lease(known) != newest:
                self.jobs.remove(job)
                forgotten += 1

    def next_lease(self) -> int:
        number = (self.numbers.get("lease") or 0) + 1
        self.numbers["lease"] = number
        return number

    def raise_lease(self, seen: int) -> None:
        """Lease numbers rise a cell, also past what a live inbox has already read (protocol rule 8)."""
        if seen > (self.numbers.get("lease") or 0):
            self.numbers["lease"] = seen
