"""Which waiting job goes to which free slot: by priority, then age (which failures lessen); a warm worker first;
suspects alone.

Later stages are served first, so that what is nearly done gets out of the way. Fair shares, quotas and reuse of
whole results belong here when they come.
"""

from __future__ import annotations

import heapq
from functools import partial

from schemas.base import made
from schemas.events import Task
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import STAGES, Stage
from streams.coordinator import breaker, retry
from streams.coordinator import job as transitions
from streams.coordinator.effects import Count, Effect, Send
from streams.coordinator.ending import guarded
from streams.coordinator.ledger import Entry, Kind, Ledger, WorkerView
from streams.coordinator.memory import avoided
from streams.coordinator.offers import best_worker, closed_nodes, drop_stale_reservations, reserve


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
    """The first of all queues first, as long as there is a worker for its jobs and the stage's breaker lets them."""
    effects: list[Effect] = []
    queues = {kind: queue for kind, queue in ledger.waiting[stage].items() if queue}
    while queues and ledger.open and breaker.lets_pass(ledger, stage):
        kind = min(queues, key=lambda kind: queues[kind][0])
        state = waiting_job(ledger, heapq.heappop(queues[kind]), kind, stage, now)
        view = best_worker(ledger, stage, kind, closed, avoided(state, stage)) if state else None
        if state is not None and view is not None:
            closed |= {view.beat.node} if kind.alone else set()
            effects += guarded(ledger, state.job, now, partial(dispatch, ledger, view, state, kind.alone, now))
        elif state is not None:
            ledger.enqueue_now(state)
            if kind.alone:
                reserve(ledger, state, stage, kind, closed)
        if not queues[kind] or (state is not None and view is None):
            del queues[kind]
    return effects


def waiting_job(ledger: Ledger, entry: Entry, kind: Kind, stage: Stage, now: float) -> JobState | None:
    """The job of an entry, unless the entry is stale. One that is not due goes back: the clock was set back."""
    state = ledger.jobs.get(entry[2])
    if state is None or state.status is not JobStatus.WAITING or state.stage is not stage:
        return None
    if transitions.is_suspect(state) is not kind.alone:
        return None
    due = state.stages[stage].not_before
    if not retry.is_due(due, now):
        heapq.heappush(ledger.delayed, (due, state.job))
        return None
    return state


def dispatch(ledger: Ledger, view: WorkerView, state: JobState, alone: bool, now: float) -> list[Effect]:
    """Lease the stage that waits to the worker. `alone`: it is a suspect."""
    stage, beat = state.stage, view.beat
    assert stage is not None
    partition = view.partition(stage)
    assert partition is not None
    lease = made(
        Lease, number=ledger.next_lease(), incarnation=beat.incarnation, worker=beat.worker, stage=stage,
        partition=partition, dispatched_at=now, alone=alone,
    )  # fmt: skip
    breaker.note_dispatch(ledger, stage, lease.number)
    waited_before = state.stages[stage].wait_seconds
    state = ledger.put(state, now, **transitions.dispatched(state, lease))
    waited = state.stages[stage].wait_seconds - waited_before
    return [Send(stage, partition, task_of(state, lease), state.traceparent), Count("waited", (stage,), waited)]


def task_of(state: JobState, lease: Lease) -> Task:
    stage, stages, recipe = lease.stage, state.stages, state.recipe
    assert recipe is not None
    record, upstream = stages[stage], stage.upstream
    return made(
        Task, incarnation=lease.incarnation, lease=lease.number, job=state.job, tenant=state.tenant, stage=stage,
        key=record.key, recipe=recipe, attempt=record.dispatches, condemned_etag=record.condemned_etag,
        upstream=stages[upstream].artifact if upstream else None, metadata=state.metadata, recipe_digest=recipe.digest,
    )  # fmt: skip
