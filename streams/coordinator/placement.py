"""Which waiting job goes to which free slot: by priority, then age; a warm worker first; suspects alone.

Later stages are served first, so that what is nearly done gets out of the way. Fair shares, quotas and reuse of
whole results belong here when they come.
"""

from __future__ import annotations

import heapq
from functools import partial

from schemas.events import Task
from schemas.job import JobState, JobStatus, Lease
from schemas.stage import STAGES, Stage
from streams.coordinator import job as transitions
from streams.coordinator.effects import Count, Effect, Send
from streams.coordinator.ending import guarded
from streams.coordinator.ledger import Ledger, WorkerView

Entry = tuple[int, float, str]


def place(ledger: Ledger, now: float) -> list[Effect]:
    """Dispatch what can be dispatched. Nothing is placed while a grace period holds (protocol rule 15)."""
    release_due(ledger, now)
    if ledger.is_held:
        return []
    return [effect for stage in reversed(STAGES) for effect in place_stage(ledger, stage, now)]


def release_due(ledger: Ledger, now: float) -> None:
    """Jobs whose retry delay has passed join the queue of their stage."""
    while ledger.delayed and ledger.delayed[0][0] <= now:
        _, job = heapq.heappop(ledger.delayed)
        state = ledger.jobs.get(job)
        if is_waiting(state) and state.stages[state.stage].not_before <= now:  # type: ignore[union-attr,index]
            heapq.heappush(ledger.waiting[state.stage], (-state.priority, state.accepted_at, job))  # type: ignore[union-attr,index]


def is_waiting(state: JobState | None) -> bool:
    return state is not None and state.status is JobStatus.WAITING and state.stage is not None


def place_stage(ledger: Ledger, stage: Stage, now: float) -> list[Effect]:
    effects: list[Effect] = []
    put_back: list[Entry] = []
    queue = ledger.waiting[stage]
    free = [view for view in ledger.workers.values() if is_open(view, stage)]
    while queue and free:
        entry = heapq.heappop(queue)
        state = ledger.jobs.get(entry[2])
        if state is None or not is_waiting(state) or state.stage != stage or state.stages[stage].not_before > now:
            continue
        view = choose(free, state, stage)
        if view is None:
            put_back.append(entry)
            continue
        effects += guarded(ledger, state.job, now, partial(dispatch, ledger, view, state, stage, now))
        free = [view for view in ledger.workers.values() if is_open(view, stage)]
    for entry in put_back:
        heapq.heappush(queue, entry)
    return effects


def is_open(view: WorkerView, stage: Stage) -> bool:
    return view.free > 0 and view.partition(stage) is not None and stage not in {stage for stage, _ in view.unread}


def choose(free: list[WorkerView], state: JobState, stage: Stage) -> WorkerView | None:
    """The best worker that can run the job's model: warm before cold, emptier before fuller."""
    assert state.recipe is not None
    model = state.recipe.model
    fit = [view for view in free if model in view.beat.bundles]
    if state.stages[stage].suspicions:
        fit = [view for view in fit if view.occupied == 0]
    return max(fit, key=lambda view: (f"{stage}/{model}" in view.beat.loaded, view.free), default=None)


def dispatch(ledger: Ledger, view: WorkerView, state: JobState, stage: Stage, now: float) -> list[Effect]:
    partition = view.partition(stage)
    assert partition is not None
    lease = Lease(
        number=ledger.next_lease(), incarnation=view.beat.incarnation, worker=view.beat.worker, stage=stage,
        partition=partition, dispatched_at=now,
    )  # fmt: skip
    waited_before = state.stages[stage].wait_seconds
    state = ledger.put(transitions.dispatched(state, lease), now)
    waited = state.stages[stage].wait_seconds - waited_before
    return [Send(stage, partition, task_of(state, lease), state.traceparent), Count("waited", (stage,), waited)]


def task_of(state: JobState, lease: Lease) -> Task:
    assert state.recipe is not None
    stage = lease.stage
    record = state.stages[stage]
    return Task(
        incarnation=lease.incarnation, lease=lease.number, job=state.job, tenant=state.tenant, stage=stage,
        key=record.key, recipe=state.recipe, attempt=record.dispatches, condemned_etag=record.condemned_etag,
        upstream=state.stages[stage.upstream].artifact if stage.upstream else None, metadata=state.metadata,
    )  # fmt: skip
