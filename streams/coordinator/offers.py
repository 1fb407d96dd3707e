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


def best_worker(ledger: Ledger, stage: Stage, kind: Kind) -> WorkerView | None:
    for warm in (True, False):
        for empty in (True,) if kind.alone else (True, False):
            views = takers(ledger, Offer(stage, kind.model, warm, empty), kind.alone)
            best = max(islice(views, LOOK_AT), key=lambda view: view.free, default=None)
            if best is not None:
                return best
    return None


def takers(ledger: Ledger, offer: Offer, alone: bool) -> Iterator[WorkerView]:
    """Workers that make the offer. What is reserved for a suspect, or runs one, takes no other job."""
    reserved = () if alone else set(ledger.reserved.values())
    for name in ledger.open.of(offer):
        view = ledger.workers[name]
        if name not in reserved and not runs_suspect(ledger, view):
            yield view


def runs_suspect(ledger: Ledger, view: WorkerView) -> bool:
    jobs = [ledger.job_of(number) for number in view.leases]
    return any(job is not None and is_suspect(job) for job in jobs)


def reserve(ledger: Ledger, suspect: JobState, stage: Stage, kind: Kind) -> None:
    """No worker is empty: nothing more is put on the best one, so that it becomes empty."""
    best = None if suspect.job in ledger.reserved else best_worker(ledger, stage, kind._replace(alone=False))
    if best is not None:
        ledger.reserved[suspect.job] = best.beat.incarnation


def drop_stale_reservations(ledger: Ledger) -> None:
    """A reservation holds while its job waits as a suspect and its worker takes tasks."""
    for job, incarnation in list(ledger.reserved.items()):
        state, view = ledger.jobs.get(job), ledger.workers.get(incarnation)
        waits = state is not None and state.status is JobStatus.WAITING and is_suspect(state)
        if not waits or view is None or view.beat.draining:
            del ledger.reserved[job]
