"""Which open worker gets the next job of a stage and model: warm before cold, emptier before fuller; suspects alone."""

from __future__ import annotations

import heapq

from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.job import is_suspect
from streams.coordinator.ledger import Ledger, WorkerView

Rank = tuple[bool, int]


class Offers:
    """Made for one placement. What a dispatch changes shows when its worker comes up again.

    `alone`: only workers that hold nothing, for suspects. Others keep off the workers that are reserved for these.
    """

    def __init__(self, ledger: Ledger, stage: Stage, model: str, alone: bool = False) -> None:
        self.ledger, self.stage, self.alone, self._warm = ledger, stage, alone, f"{stage}/{model}"
        self._reserved = set() if alone else set(ledger.reserved.values())
        views = [ledger.workers[name] for name in ledger.open]
        fit = [view for view in views if model in view.beat.bundles and self._takes(view)]
        self._heap = [(self._rank(view), place, view.beat.incarnation) for place, view in enumerate(fit)]
        heapq.heapify(self._heap)

    def best(self) -> WorkerView | None:
        while self._heap:
            rank, place, name = self._heap[0]
            view = self.ledger.workers.get(name)
            if view is None or not self._takes(view):
                heapq.heappop(self._heap)
            elif rank != self._rank(view):
                heapq.heapreplace(self._heap, (self._rank(view), place, name))
            else:
                return view
        return None

    def _rank(self, view: WorkerView) -> Rank:
        return self._warm not in view.beat.loaded, -view.free

    def _takes(self, view: WorkerView) -> bool:
        if view.free == 0 or view.partition(self.stage) is None or view.beat.incarnation in self._reserved:
            return False
        if any(stage is self.stage for stage, _ in view.unread):
            return False
        return view.occupied == 0 if self.alone else not runs_suspect(self.ledger, view)


def runs_suspect(ledger: Ledger, view: WorkerView) -> bool:
    jobs = [ledger.job_of(number) for number in view.leases]
    return any(job is not None and is_suspect(job) for job in jobs)


def reserve(ledger: Ledger, suspect: JobState, stage: Stage, model: str) -> None:
    """No worker is empty: nothing more is put on the best one, so that it becomes empty."""
    best = None if suspect.job in ledger.reserved else Offers(ledger, stage, model).best()
    if best is not None:
        ledger.reserved[suspect.job] = best.beat.incarnation


def drop_stale_reservations(ledger: Ledger) -> None:
    """A reservation holds while its job waits as a suspect and its worker takes tasks."""
    for job, incarnation in list(ledger.reserved.items()):
        state, view = ledger.jobs.get(job), ledger.workers.get(incarnation)
        waits = state is not None and state.status is JobStatus.WAITING and is_suspect(state)
        if not waits or view is None or view.beat.draining:
            del ledger.reserved[job]
