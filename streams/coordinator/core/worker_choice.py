"""Which open worker gets the next job of a stage and model: warm before cold, emptier before fuller; suspects alone."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.core.state.free_slots import Offer, preferred
from streams.coordinator.core.state.ledger import Kind, Ledger, WorkerView
from streams.coordinator.core.transitions import is_suspect

LOOK_AT = 8
"""Workers that are compared by their free slots: a choice among thousands would be no better and cost more."""


def best_worker(
    ledger: Ledger, stage: Stage, kind: Kind, closed: set[str], avoid: frozenset[str] = frozenset()
) -> WorkerView | None:
    """`closed`: nodes that take no other job, see `closed_nodes`. `avoid`: workers for want of another alone."""
    best = best_of(ledger, stage, kind, closed, avoid)
    return best_of(ledger, stage, kind, closed, frozenset()) if best is None and avoid else best


def best_of(ledger: Ledger, stage: Stage, kind: Kind, closed: set[str], never: frozenset[str]) -> WorkerView | None:
    for offer in preferred(stage, kind.model, kind.revision):
        if offer.empty or not kind.alone:
            names = takers(ledger, offer, kind.alone, closed)
            if never:
                names = (name for name in names if ledger.workers[name].beat.worker not in never)
            best = max(islice(names, LOOK_AT), key=ledger.open.free.__getitem__, default=None)
            if best is not None:
                return ledger.workers[best]
    return None


def takers(ledger: Ledger, offer: Offer, alone: bool, closed: set[str]) -> Iterable[str]:
    """Workers that make the offer, on nodes that hold nothing (`alone`), or that are not kept for a suspect."""
    names = ledger.open.of(offer)
    if alone:
        return (name for name in names if ledger.nodes.is_idle(ledger.workers[name].beat.node))
    return (name for name in names if ledger.workers[name].beat.node not in closed) if closed else names


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
    """No node is empty: nothing more is put on the one that is nearest to it, so that it becomes empty."""
    view = None if suspect.job in ledger.reserved else on_emptiest_node(ledger, stage, kind, closed)
    if view is not None:
        ledger.reserved[suspect.job] = view.beat.incarnation
        closed.add(view.beat.node)


def on_emptiest_node(ledger: Ledger, stage: Stage, kind: Kind, closed: set[str]) -> WorkerView | None:
    offers = preferred(stage, kind.model, kind.revision)
    found = (islice(takers(ledger, offer, False, closed), LOOK_AT) for offer in offers)
    views = (ledger.workers[name] for names in found for name in names)
    return min(views, key=lambda view: len(ledger.nodes.holders(view.beat.node)), default=None)


def drop_stale_reservations(ledger: Ledger) -> None:
    """A reservation holds while its job waits as a suspect and its worker takes tasks."""
    for job, incarnation in list(ledger.reserved.items()):
        state, view = ledger.jobs.get(job), ledger.workers.get(incarnation)
        waits = state is not None and state.status is JobStatus.WAITING and is_suspect(state)
        if not waits or view is None or view.is_leaving:
            del ledger.reserved[job]
