"""Finished videos that their tenants delete in a chaos run, drawn from a seed: nothing of them may stay stored."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from operations.audit.videos import outputs_of
from schemas import store_layout
from schemas.errors import StoreUnavailable
from schemas.events.completions import Completion, JobCompleted
from schemas.events.prompts import DeleteRequested
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from stages.storage.artifacts import ArtifactStore
from tests.chaos.workload import Order

SHARE, DELAY_S = 0.2, (0.0, 15.0)
"""Of the jobs, and how many seconds after its end one is deleted."""
AGAIN_S, GC_S = 40.0, 60.0
"""Second searches and gc, where production has 10 minutes and an hour: longer than a worker is stopped."""
GONE_BOUND_S = 180.0
"""Seconds from a delete to its last object gone, second search included: faults of broker, coordinator, store and
janitor may come one after the other, each at the end of the one before."""
SEARCHES_EVERY_S = 2.0


def configure() -> None:
    """For janitors that are started from here on."""
    os.environ["LATENTLINE_ERASE_AGAIN_AFTER_S"] = str(AGAIN_S)
    os.environ["LATENTLINE_GC_INTERVAL_S"] = str(GC_S)


def drawn(seed: int, orders: Iterable[Order]) -> dict[str, float]:
    """The jobs that are deleted if they complete, each with its delay in seconds."""
    random = Random(f"deletes {seed}")
    jobs = dict.fromkeys(order.job for order in orders if order.job is not None)
    return {job: random.uniform(*DELAY_S) for job in jobs if random.random() < SHARE}


@dataclass(frozen=True)
class Deleted:
    """How many videos were deleted, of which of them something is left, and the longest time until all of one was gone,
    in seconds."""

    count: int = 0
    left: tuple[str, ...] = ()
    longest_s: float = 0.0


@dataclass
class Deletes:
    """Which deletes are due, and what the store still has of the deleted: searched by a thread, since the store may be
    away."""

    delays: Mapping[str, float]
    store: ArtifactStore
    sent: dict[str, float] = field(default_factory=dict)
    """When each delete was sent, unix seconds."""
    found: dict[str, float] = field(default_factory=dict)
    """When something of a deleted job was last in the store."""
    missing: dict[str, float] = field(default_factory=dict)
    """When nothing of it was last in the store."""
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "deletes"))
    _search: Future[None] | None = None
    _next: float = 0.0

    def due(self, completions: Iterable[Completion], now: float) -> Iterator[DeleteRequested]:
        """Each once: it counts as sent."""
        for end in completions:
            delay = self.delays.get(end.job)
            is_due = delay is not None and isinstance(end, JobCompleted) and end.ended_at + delay <= now
            if is_due and end.job not in self.sent:
                self.sent[end.job] = now
                yield DeleteRequested(job=end.job, tenant=end.tenant)

    def are_over(self, completions: Iterable[Completion]) -> bool:
        """Whether each was sent, and the store had nothing more of it after its second search."""
        wanted = {end.job for end in completions if isinstance(end, JobCompleted)} & self.delays.keys()
        return wanted <= self.sent.keys() and not self._open()

    def _open(self) -> list[str]:
        return [job for job, sent in self.sent.items() if self.missing.get(job, 0.0) < sent + AGAIN_S]

    def search(self, histories: Mapping[str, Sequence[JobState]]) -> None:
        """Begin to search the store, unless a search is under way or has just been."""
        if (self._search is None or self._search.done()) and time.monotonic() >= self._next:
            self._next = time.monotonic() + SEARCHES_EVERY_S
            self._search = self._pool.submit(self._look, self._prefixes(self._open(), histories))

    def _prefixes(
        self, jobs: Iterable[str], histories: Mapping[str, Sequence[JobState]]
    ) -> dict[str, list[str]]:  # fmt: skip
        latest = [history[-1] for history in histories.values()]
        kept = {output for state in latest if state.job not in self.sent for output in outputs_of(state)}
        return {job: prefixes_of(histories[job][-1], kept) for job in jobs if job in histories}

    def _look(self, prefixes: Mapping[str, Sequence[str]]) -> None:
        for job, each in prefixes.items():
            with suppress(StoreUnavailable):
                is_there = any(self.store.list(prefix) for prefix in each)
                (self.found if is_there else self.missing)[job] = time.time()

    def close(self, histories: Mapping[str, Sequence[JobState]]) -> Deleted:
        """What came of it, after a last search for all of them."""
        self._pool.shutdown()
        self.missing.clear()
        self._look(self._prefixes(self.sent, histories))
        left = tuple(job for job in self.sent if job not in self.missing)
        waits = [self.found[job] - sent for job, sent in self.sent.items() if job in self.found]
        return Deleted(len(self.sent), left, max(waits, default=0.0))


def prefixes_of(state: JobState, kept: set[tuple[str, str, str]]) -> list[str]:
    """Where a deleted job may have left nothing: all of its outputs but those that another job refers to."""
    outputs = [(Stage(stage), key) for tenant, stage, key in outputs_of(state) if (tenant, stage, key) not in kept]
    folders = [store_layout.folder(state.tenant, stage, key, state.job) for stage, key in [(Stage.MUX, ""), *outputs]]
    return [store_layout.preview(state.tenant, state.job), *(f"{folder}/" for folder in folders)]


def before_delete(history: Sequence[JobState]) -> JobState:
    """The last state that says what was computed: that of a deleted job does not."""
    return next((state for state in reversed(history) if state.status is not JobStatus.DELETED), history[-1])
