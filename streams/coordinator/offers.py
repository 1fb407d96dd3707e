"""Which open worker gets the next job of a stage and model: warm before cold, emptier before fuller; suspects alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.job import is_suspect
from streams.coordinator.ledger import Kind, Ledger, WorkerView
from streams.coordinator.open_workers import Offer

LOOK_AT = 16
"""Workers that are compared by their free slots: a choice among thousands would be no better and cost more."""


def best_worker(ledger: Ledger, stage: Stage, kind: Kind, closed: set[str]) -> WorkerView | None:
    """`closed`: nodes that take no other job, see `closed_nodes`."""
    for warm in (True, False):
        for empty in (True,) if kind.alone else (True, False):
            views = takers(ledger, Offer(stage, kind.model, warm, empty), kind.alone, closed)
            best = max(islice(views, LOOK_AT), key=lambda view: view.free, default=None)
            if best is not None:
                return best
    return None


def takers(ledger: Ledger, offer: Offer, alone: bool, closed: set[str]) -> Iterator[WorkerView]:
    """Workers that make the offer, on nodes that hold nothing (`alone`), or that are not kept for a suspect."""
    for name in ledger.open.of(offer):
        view = ledger.workers[name]
        if ledger.nodes.is_idle(view.beat.node) if alone else view.beat.node not in closed:
            yield view


def closed_nodes(ledger: Ledger) -> set[str]:
    """The nodes on which a suspect runs, and those that are to become empty for one."""
    holders = [state.lease.incarnation for state in running_suspects(ledger) if state.lease is not None]
    views = (ledger.workers.get(incarnation) for incarnation in (*holders, *ledger.reserved.values()))
    return {view.beat.node for view in views if view is not None}


def running_suspects(ledger: Ledger) -> list[JobState]:
    found = [state for job in ledger.suspects if (state := ledger.jobs.get(job)) and state.lease and is_suspect(state)]
    ledger.suspects = {state.job for state in found}
    return found


def reserve(ledger: Ledger, suspect: JobState, stage: Stage, kind: Kind, closed: set[str]) -> None:
    """No node is empty: nothing more is put on that of the best worker, so that it becomes empty."""
    best = None if suspect.job in ledger.reserved else best_worker(ledger, stage, kind._replace(alone=False), closed)
    if best is not None:
        ledger.reserved[suspect.job] = best.beat.incarnation
        closed.add(best.beat.node)


def drop_stale_reservations(ledger: Ledger) -> None:
    """A reservation holds while its job waits as a suspect and its worker takes tasks."""
    for job, incarnation in list(ledger.reserved.items()):
        state, view = ledger.jobs.get(job), ledger.workers.get(incarnation)
        waits = state is not None and state.status is JobStatus.WAITING and is_suspect(state)
        if not waits or view is None or view.is_leaving:
            del ledger.reserved[job]
