"""Whether jobs wait that should not: a worker that fits them is free, or no worker that is heard would ever fit them.

Told from the states of the jobs and not from the queues, so that a job which a queue has lost shows too. What holds a
stage back on purpose is no standstill: a grace period, an open breaker, a retry that is not due, a suspect that waits
for a node of its own, a node that is kept for one, a worker that leaves or does not read its inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage
from streams.coordinator.core import retry
from streams.coordinator.core.state.free_slots import offers_of, preferred
from streams.coordinator.core.state.ledger import Entry, Kind, Ledger, WorkerView
from streams.coordinator.core.transitions import is_suspect
from streams.coordinator.core.worker_choice import LOOK_AT, closed_nodes, takers

AFTER_S = 15.0
"""Longer than a task may lie unread (5 s) or a worker be silent (8 s): what mends itself is no news."""
QUIET_S = 2.0
"""While a stage dispatches, its jobs are not looked through."""

Subject = tuple[Stage, str]
"""A stage, and the model that its jobs wait with."""
Walk = Callable[[], Iterable[JobState]]


class Standstill:
    """Looks once a second. Times are monotonic seconds, but for `wall`, which is unix."""

    def __init__(self) -> None:
        self._dispatched: dict[Stage, float] = {}
        self._idle: dict[Subject, float] = {}
        self._unserved: dict[Subject, float] = {}
        """Since when."""

    def dispatched(self, stage: Stage, now: float) -> None:
        self._dispatched[stage] = now

    def look(self, ledger: Ledger, alive: Walk, now: float, wall: float) -> None:
        """`alive` gives the jobs that have not ended; they are gone through only where a stage rests beside a queue."""
        unserved = {
            (stage, kind.model)
            for stage in STAGES
            for kind, queue in ledger.waiting[stage].items()
            if queue and not is_served(ledger, stage, kind) and any(waits(ledger, entry, stage) for entry in queue)
        }
        resting = [stage for stage in STAGES if now - self._dispatched.get(stage, 0.0) > QUIET_S]
        idle = set() if ledger.is_held else idle_subjects(ledger, resting, alive, wall)
        self._unserved = {subject: self._unserved.get(subject, now) for subject in unserved}
        self._idle = {subject: self._idle.get(subject, now) for subject in idle}

    def idle_seconds(self, stage: Stage, now: float) -> float:
        return max((now - since for (of, _), since in self._idle.items() if of is stage), default=0.0)

    def unserved_seconds(self, stage: Stage, now: float) -> float:
        return max((now - since for (of, _), since in self._unserved.items() if of is stage), default=0.0)

    def idle_words(self, now: float) -> list[str]:
        """In words, what has stood still for longer than mends itself."""
        return [
            f"{stage}: jobs with model {model} wait, a worker that fits is free, and nothing was dispatched "
            f"for {now - since:.0f} s"
            for (stage, model), since in sorted(self._idle.items())
            if now - since > AFTER_S
        ]

    def unserved_words(self, now: float) -> list[str]:
        return [
            f"{stage}: jobs have waited for {now - since:.0f} s with model {model}, which no worker serves there"
            for (stage, model), since in sorted(self._unserved.items())
            if now - since > AFTER_S
        ]


def waits(ledger: Ledger, entry: Entry, stage: Stage) -> bool:
    """Whether an entry of a queue is not stale."""
    state = ledger.jobs.get(entry[2])
    return state is not None and state.status is JobStatus.WAITING and state.stage is stage


def is_served(ledger: Ledger, stage: Stage, kind: Kind) -> bool:
    """Whether any worker that stays would take such a job, once it has a free slot."""
    wanted = preferred(stage, kind.model, kind.revision)
    if any(True for offer in wanted for _ in ledger.open.of(offer)):
        return True
    return any(serves(view, wanted) for view in ledger.workers.values())


def serves(view: WorkerView, wanted: tuple[object, ...]) -> bool:
    return not view.is_leaving and not set(offers_of(view.beat, (), True)).isdisjoint(wanted)


def idle_subjects(ledger: Ledger, stages: Iterable[Stage], alive: Walk, wall: float) -> set[Subject]:
    """What waits, is due and would find a free worker: right after placement there should be none."""
    open_stages = {stage for stage in stages if ledger.open.has_offer_in(stage) and not is_broken(ledger, stage)}
    if not open_stages:
        return set()
    wanted = {(state.stage, kind) for state in alive() if state.stage in open_stages and (kind := due(state, wall))}
    closed = closed_nodes(ledger) if wanted else set()
    return {(stage, kind.model) for stage, kind in wanted if stage and has_taker(ledger, stage, kind, closed)}


def is_broken(ledger: Ledger, stage: Stage) -> bool:
    breaker = ledger.breakers.get(stage)
    return breaker is not None and breaker.is_open


def due(state: JobState, wall: float) -> Kind | None:
    """What a job that may run now asks of a worker; None for one that may not, and for a suspect."""
    stage, recipe = state.stage, state.recipe
    if stage is None or recipe is None or state.status is not JobStatus.WAITING or is_suspect(state):
        return None
    return Kind(recipe.model, recipe.revision, False) if retry.is_due(state.stages[stage].not_before, wall) else None


def has_taker(ledger: Ledger, stage: Stage, kind: Kind, closed: set[str]) -> bool:
    wanted = preferred(stage, kind.model, kind.revision)
    return any(True for offer in wanted for _ in islice(takers(ledger, offer, False, closed), LOOK_AT))
