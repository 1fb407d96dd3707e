"""Free what no live job holds, on a line that works on: the manifest first, so that nobody finds what is about to go.

`jobs` is read on before a manifest goes and again before its objects do: what a job has taken hold of meanwhile gets
its manifest back. Every object is looked at once more: one that was written meanwhile stays. A job that finds an output
gone in between, or takes hold of one after the last look, reports it lost, and its stage runs again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from stages.store import ArtifactStore
from streams.audit.log import Log
from streams.settings import Settings
from streams.upkeep.holds import Holds
from streams.upkeep.plan import Loose, loose
from streams.upkeep.sight import JobsNow, look

BATCH = 20
DAY_S = 24 * 3600.0
GRACE_S = DAY_S
"""Longer than any upload takes, its retries and a parked one's wait for the store included."""


def collect(
    settings: Settings, store: ArtifactStore, *, apply: bool, ended_before: float = 0.0, grace: float = GRACE_S,
    now: float | None = None,
) -> tuple[Loose, ...]:  # fmt: skip
    """What is loose; with `apply`, what was freed.

    Jobs that ended before `ended_before` (unix seconds) hold nothing; the others do as long as `jobs` knows them.
    `grace`: seconds for which everything stays. Raises `ClientError` and `StoreUnavailable`.
    """
    now = time.time() if now is None else now
    with Log(settings) as log:
        jobs = JobsNow(settings, log, ended_before)
        seen = look(store, jobs, now)
        found = tuple(loose(seen.shelves, seen.holds, now - grace))
        return tuple(sweep(store, found, jobs.look, now - grace)) if apply else found


def sweep(store: ArtifactStore, planned: Sequence[Loose], holds: Callable[[], Holds], oldest: float) -> Iterator[Loose]:
    """What was freed. `holds` says what jobs hold now."""
    rest = iter(planned)
    while batch := list(islice(rest, BATCH)):
        held = holds()
        batch = [each for each in batch if is_still_loose(each, held)]
        for each in batch:
            if each.place.manifest in each.keys:
                store.remove(each.place.manifest)
        held = holds()
        for each in batch:
            if is_still_loose(each, held):
                remove_objects(store, each, oldest)
                yield each
            elif each.manifest is not None:
                store.publish(each.place.folder, each.manifest)


def is_still_loose(each: Loose, holds: Holds) -> bool:
    return not each.whole or each.place not in holds


def remove_objects(store: ArtifactStore, each: Loose, oldest: float) -> None:
    there = store.stored(f"{each.place.folder}/")
    for key in each.keys:
        if key in there and there[key].modified < oldest:
            store.remove(key)
