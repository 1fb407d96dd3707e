"""Which waiting job goes to which free slot: by priority, then age (which failures lessen); a warm worker first;
suspects alone.

Later stages are served first, so that what is nearly done gets out of the way. Fair shares, quotas and reuse of
whole results belong here when they come.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from schemas.base import construct
from schemas.events.tasks import Task
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import STAGES, Stage
from streams.coordinator.core import retry, stage_breaker, transitions
from streams.coordinator.core.completion import guarded
from streams.coordinator.core.effects import Count, Effect, Send
from streams.coordinator.core.oom_fallback import avoided
from streams.coordinator.core.state.ledger import Entry, Kind, Ledger, WorkerView
from streams.coordinator.core.worker_choice import best_worker, closed_nodes, drop_stale_reservations, reserve


class Candidate(NamedTuple):
    """A job that may be a probe; the least rank is the next."""

    rank: tuple[int, int, int, float, str]
    kind: Kind
    state: JobState


RANK = attrgetter("rank")


def place(ledger: Ledger, now: float) -> list[Effect]:
    """Dispatch what can be dispatched. Nothing is placed while a grace period holds (protocol rule 15)."""
    release_due(ledger, now)
    if ledger.is_held:
        return []
    drop_stale_reservations(ledger)
    closed = closed_nodes(ledger)
    return [effect for stage in reversed(STAGES) for effect in place_stage(ledger, stage, closed, now)]


def release_due(ledger: Ledger, now: float) -> None:
    """Jobs whose retry delay has passed join the queue of their stage."""
    while ledger.delayed and retry.is_due(ledger.delayed[0][0], now):
        _, job = heapq.heappop(ledger.delayed)
        state = ledger.jobs.get(job)
        if state is not None and state.status is JobStatus.WAITING and state.stage is not None:
            ledger.enqueue_now(state)


def place_stage(ledger: Ledger, stage: Stage, closed: set[str], now: float) -> list[Effect]:
    """The first of all queues first, as long as there is a worker for its jobs. If the breaker is open: probes."""
    found = ledger.breakers.get(stage)
    if found is not None and found.is_open:
        return place_probes(ledger, stage, closed, now)
    effects: list[Effect] = []
    queues = {kind: queue for kind, queue in ledger.waiting[stage].items() if queue}
    while queues and ledger.open:
        kind = min(queues, key=lambda kind: queues[kind][0])
        entry = heapq.heappop(queues[kind])
        state = waiting_job(ledger, entry, kind, stage, now)
        if state is not None:
            placed = guarded(ledger, state.job, now, partial(place_job, ledger, state, kind, closed, now))
            effects += placed
            if not placed:
                ledger.enqueue_now(state)
                del queues[kind]
        if not queues.get(kind, True):
            del queues[kind]
    return effects


def place_probes(ledger: Ledger, stage: Stage, closed: set[str], now: float) -> list[Effect]:
    """One job of each tenant that was not tried; of the others one, of whom and which was tried least."""
    if not ledger.open or not stage_breaker.is_look_due(ledger, stage):
        return []
    first: dict[tuple[str, Kind], Candidate] = {}
    for candidate in candidates(ledger, stage, now):
        name = (candidate.state.tenant, candidate.kind)
        first[name] = min(first.get(name, candidate), candidate, key=RANK)
    effects: list[Effect] = []
    for _, kind, state in sorted(first.values(), key=RANK):
        if stage_breaker.lets_pass(ledger, stage, state.tenant):
            effects += guarded(ledger, state.job, now, partial(place_job, ledger, state, kind, closed, now))
    return effects


def candidates(ledger: Ledger, stage: Stage, now: float) -> Iterator[Candidate]:
    """What waits and is due. Who has failed gives way to who has not."""
    tried = ledger.breakers[stage].tried
    for kind, queue in ledger.waiting[stage].items():
        for entry in queue:
            state = queued_job(ledger, entry, kind, stage)
            if state is not None and retry.is_due(state.stages[stage].not_before, now):
                record = state.stages[stage]
                failed, since = record.failures + record.setbacks, record.waiting_since or 0.0
                rank = (tried.get(state.tenant, 0), failed, -state.priority, since, state.job)
                yield Candidate(rank, kind, state)


def place_job(ledger: Ledger, state: JobState, kind: Kind, closed: set[str], now: float) -> list[Effect]:
    """Dispatch the stage that waits. No effects where there is no worker for it."""
    stage = state.stage
    assert stage is not None
    view = best_worker(ledger, stage, kind, closed, avoided(state, stage))
    if view is not None:
        closed |= {view.beat.node} if kind.alone else set()
        return dispatch(ledger, view, state, kind.alone, now)
    if kind.alone:
        reserve(ledger, state, stage, kind, closed)
    return []


def waiting_job(ledger: Ledger, entry: Entry, kind: Kind, stage: Stage, now: float) -> JobState | None:
    """The job of an entry, unless the entry is stale. One that is not due goes back: the clock was set back."""
    state = queued_job(ledger, entry, kind, stage)
    if state is None:
        return None
    due = state.stages[stage].not_before
    if not retry.is_due(due, now):
        heapq.heappush(ledger.delayed, (due, state.job))
        return None
    return state


def queued_job(ledger: Ledger, entry: Entry, kind: Kind, stage: Stage) -> JobState | None:
    state = ledger.jobs.get(entry[2])
    if state is None or state.status is not JobStatus.WAITING or state.stage is not stage:
        return None
    return state if transitions.is_suspect(state) is kind.alone else None


def dispatch(ledger: Ledger, view: WorkerView, state: JobState, alone: bool, now: float) -> list[Effect]:
    """Lease the stage that waits to the worker. `alone`: it is a suspect."""
    stage, beat = state.stage, view.beat
    assert stage is not None
    partition = view.partition(stage)
    assert partition is not None
    lease = construct(
        Lease, number=ledger.next_lease(), incarnation=beat.incarnation, worker=beat.worker, stage=stage,
        partition=partition, dispatched_at=now, alone=alone,
    )  # fmt: skip
    stage_breaker.record_dispatch(ledger, stage, lease.number, state.tenant)
    waited_before = state.stages[stage].wait_seconds
    state = ledger.put(state, now, **transitions.dispatched(state, lease))
    waited = state.stages[stage].wait_seconds - waited_before
    return [Send(stage, partition, task_of(state, lease), state.traceparent), Count("waited", (stage,), waited)]


def task_of(state: JobState, lease: Lease) -> Task:
    stage, stages, recipe = lease.stage, state.stages, state.recipe
    assert recipe is not None
    record, upstream = stages[stage], stage.upstream
    return construct(
        Task, incarnation=lease.incarnation, lease=lease.number, job=state.job, tenant=state.tenant, stage=stage,
        key=record.key, recipe=recipe, attempt=record.dispatches, condemned_etag=record.condemned_etag,
        upstream=stages[upstream].artifact if upstream else None, metadata=state.metadata, recipe_digest=recipe.digest,
    )  # fmt: skip
