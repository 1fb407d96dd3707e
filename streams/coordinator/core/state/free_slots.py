"""The workers that have a free slot, by what they offer: an index of the views, so that placing looks at few."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from schemas.events.reports import Heartbeat
from schemas.stage import Stage

UNSAID = ""


class Offer(NamedTuple):
    """`revision`: of the weights; unsaid by a worker of an earlier release, and for mux, which reads none. `warm`: the
    model is loaded for the stage. `empty`: the worker holds nothing."""

    stage: Stage
    model: str
    revision: str
    warm: bool
    empty: bool


class OpenWorkers:
    """By offer, in the order in which they came to make it (an ordered dictionary gives its first at once)."""

    def __init__(self) -> None:
        self._offers: dict[str, tuple[Offer, ...]] = {}
        self._workers: defaultdict[Offer, OrderedDict[str, None]] = defaultdict(OrderedDict)
        self.free: dict[str, int] = {}
        """Slots of each worker that makes an offer."""

    def __len__(self) -> int:
        return len(self._offers)

    def note(self, incarnation: str, offers: tuple[Offer, ...], free: int = 0) -> None:
        """What a worker offers from now on; nothing, for one that is full, draining or gone."""
        if offers:
            self.free[incarnation] = free
        before = self._offers.get(incarnation, ())
        if before == offers:
            return
        for offer in before:
            del self._workers[offer][incarnation]
        for offer in offers:
            self._workers[offer][incarnation] = None
        if offers:
            self._offers[incarnation] = offers
        else:
            del self._offers[incarnation], self.free[incarnation]

    def has_offer_in(self, stage: Stage) -> bool:
        """Whether any worker has a free slot for any job of the stage."""
        return any(workers and offer.stage is stage for offer, workers in self._workers.items())

    def of(self, offer: Offer) -> Iterable[str]:
        return self._workers.get(offer, ())


@lru_cache(maxsize=4096)
def preferred(stage: Stage, model: str, revision: str) -> tuple[Offer, ...]:
    """The offers that a job can take, the best first. One whose revision is unsaid is taken, as it was before workers
    said it: an upgrade goes on with the workers there are."""
    revisions = (UNSAID,) if stage is Stage.MUX or revision == UNSAID else (revision, UNSAID)
    return tuple(
        Offer(stage, model, of, warm, empty) for warm in (True, False) for empty in (True, False) for of in revisions
    )


def offers_of(beat: Heartbeat, unread: tuple[Stage, ...], empty: bool) -> tuple[Offer, ...]:
    """The offers of a worker with a free slot. An inbox that is not read offers nothing (protocol rule 8)."""
    stages = tuple([inbox.stage for inbox in beat.inboxes if inbox.stage not in unread])
    models = tuple([(model, beat.revisions.get(model, UNSAID)) for model in beat.bundles])
    return offers(stages, models, beat.loaded, empty)


@lru_cache(maxsize=4096)
def offers(
    stages: tuple[Stage, ...], models: tuple[tuple[str, str], ...], loaded: tuple[str, ...], empty: bool
) -> tuple[Offer, ...]:
    return tuple(
        Offer(stage, model, UNSAID if stage is Stage.MUX else revision, f"{stage}/{model}" in loaded, empty)
        for stage in stages
        for model, revision in models
    )
