"""Remove what deleted jobs have left in the store, but for outputs that another job of the tenant refers to."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from operations.audit.objects import StoreListing
from operations.audit.store_listing import manifests_of
from operations.gc.collector import sweep
from operations.gc.plan import unreferenced
from operations.gc.snapshot import LogView
from operations.janitor.searches import Search
from schemas import store_layout
from stages.storage.artifacts import ArtifactStore
from stages.storage.object_store import Stored

EVER = float("inf")

log = structlog.get_logger(__name__)


def erase(store: ArtifactStore, view: LogView, searches: Sequence[Search]) -> int:
    """How many objects were removed; doing it twice removes nothing twice.

    Raises `ClientError` and `StoreUnavailable`: then some are left, and it has to be done again.
    """
    objects: dict[str, Stored] = {}
    for search in searches:
        for folder in search.folders:
            objects |= store.stored(f"{folder}/")
    listing = StoreListing(objects, manifests_of(store, objects))
    # What is still referred to is another job's as it is, an upload under way included.
    found = [each for each in unreferenced(listing, view.look(), EVER) if each.whole]
    removed = sum(len(each.stored) for each in sweep(store, found, view.look))
    for search in searches:
        store.remove(store_layout.preview(search.tenant, search.job))
        late = [key for key in objects if search.is_again and key.startswith(f"{search.folders[0]}/")]
        if late:
            log.warning("a late writer had put files of a deleted job back", job=search.job, objects=len(late))
    return removed
