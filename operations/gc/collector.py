"""Free what nobody refers to, on a line that works on: the manifest first, so that nobody finds what is about to go.

`jobs` is read on before a manifest goes and again before its objects do: what a job has taken hold of meanwhile gets
its manifest back. Every object is looked at once more: one that was written anew meanwhile stays. A job that finds an
output gone in between, or takes hold of one after the last look, reports it lost, and its stage runs again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from operations.audit.log import Log
from operations.audit.object_places import place_of
from operations.audit.objects import StoreListing
from operations.audit.store_listing import manifests_of
from operations.gc.plan import Unreferenced, unreferenced
from operations.gc.references import References
from operations.gc.snapshot import LogView
from runtime.settings import Settings
from stages.storage.artifacts import ArtifactStore
from stages.storage.object_store import Stored

BATCH = 50
"""Folders whose manifests are read, and which are freed, between two looks at the log."""
DAY_S = 24 * 3600.0
GRACE_S = DAY_S
"""Longer than any upload takes, its retries and a parked one's wait for the store included."""


def collect(
    settings: Settings, store: ArtifactStore, *, apply: bool, ended_before: float = 0.0, grace: float = GRACE_S,
    now: float | None = None,
) -> tuple[Unreferenced, ...]:  # fmt: skip
    """What is loose; with `apply`, what was freed.

    Jobs that ended before `ended_before` (unix seconds) refer to nothing; the others do as long as `jobs` knows them.
    `grace`: seconds for which everything stays. Raises `ClientError` and `StoreUnavailable`.
    """
    now = time.time() if now is None else now
    with Log(settings) as log:
        view = LogView(settings, log, ended_before)
        return tuple(each for each in run(store, view, now - grace, apply) if each is not None)


def run(store: ArtifactStore, view: LogView, oldest: float, apply: bool = True) -> Iterator[Unreferenced | None]:
    """What is loose and, with `apply`, freed by now, a folder at a time. None: a step that found nothing more.

    The store first: whoever was accepted while it was listed refers to what it finds there.
    """
    view.look()
    for prefix in shelves_of(store):
        objects = store.stored(prefix)
        view.check_owner(len(objects))
        for some in by_folder(objects):
            listing = StoreListing(some, manifests_of(store, some))
            found = unreferenced(listing, view.look(), oldest)
            yield from sweep(store, found, view.look) if apply else found
            yield None


def shelves_of(store: ArtifactStore) -> Iterator[str]:
    """What is listed at once: an output's tenant and stage, a video's tenant."""
    for tenant in store.folders("artifacts/"):
        yield from store.folders(tenant)
    yield from store.folders("videos/")


def by_folder(objects: dict[str, Stored]) -> Iterator[dict[str, Stored]]:
    """The objects of so many folders at a time; what is not the line's is left out."""
    some: dict[str, dict[str, Stored]] = {}
    for key, stored in sorted(objects.items()):
        place = place_of(key)
        if place is None:
            continue
        if place.folder not in some and len(some) == BATCH:
            yield {key: stored for folder in some.values() for key, stored in folder.items()}
            some = {}
        some.setdefault(place.folder, {})[key] = stored
    if some:
        yield {key: stored for folder in some.values() for key, stored in folder.items()}


def sweep(
    store: ArtifactStore, planned: Iterable[Unreferenced], look: Callable[[], References]
) -> Iterator[Unreferenced]:
    """What was freed. `look` says what is referred to now."""
    rest = iter(planned)
    while batch := list(islice(rest, BATCH)):
        batch = still_unreferenced(batch, look())
        for each in batch:
            if each.place.manifest in each.stored:
                store.remove(each.place.manifest)
        left = still_unreferenced(batch, look())
        for each in left:
            remove_objects(store, each)
            yield each
        for each in batch:
            if each not in left and each.manifest is not None:
                store.publish(each.place.folder, each.manifest)


def still_unreferenced(batch: Sequence[Unreferenced], references: References) -> list[Unreferenced]:
    return [each for each in batch if not each.whole or each.place not in references]


def remove_objects(store: ArtifactStore, each: Unreferenced) -> None:
    there = store.stored(f"{each.place.folder}/")
    for key, stored in each.stored.items():
        if there.get(key) == stored:
            store.remove(key)
