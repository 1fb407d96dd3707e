"""Videos of before there was a catalogue get their records: found in the log, or, where their job is forgotten, in the
store.

Nobody has chosen how long they are kept, so they are, until an operator says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from operations.audit.object_places import Place, place_of
from operations.audit.store_listing import manifests_of
from operations.gc.catalogue import Catalogue
from operations.gc.collector import by_folder
from operations.gc.snapshot import LogView
from operations.janitor.outbox import Outbox
from schemas.catalogue import VideoRecord, record_of
from schemas.events.artifacts import Manifest
from schemas.job import JobState
from stages.storage.artifacts import ArtifactStore
from stages.storage.object_store import Stored

CATALOGUED_SINCE = 4
"""The format of job states with which their coordinator writes the catalogue, too."""
FLUSHED_EVERY = 500

log = structlog.get_logger(__name__)


class Backfill:
    """Gives a job that a coordinator of an earlier release has completed its record, whenever one is read of."""

    def __init__(self, catalogue: Catalogue, outbox: Outbox) -> None:
        self._catalogue, self._outbox = catalogue, outbox
        self._untold = 0

    def see(self, state: JobState, partition: int) -> None:
        """The next state of a job. Raises `NotDelivered`."""
        record = record_of(state) if state.format < CATALOGUED_SINCE else None
        if record is not None and state.job not in self._catalogue.videos:
            self._outbox.record(record, partition)
            self._untold += 1
        if self._untold >= FLUSHED_EVERY:
            self.flush()

    def flush(self) -> None:
        if self._untold:
            self._outbox.flush()
            log.info("videos of before there was a catalogue have their records", videos=self._untold)
        self._untold = 0


def fill_from_store(store: ArtifactStore, view: LogView, outbox: Outbox) -> Iterator[None]:
    """Once in the life of a line: every finished video whose job nobody remembers. It goes on a step at a time.

    The store first: what the log tells of a job that is under way, its coordinator will catalogue.

    Raises `ClientError` and `StoreUnavailable`.
    """
    found = 0
    for tenant in store.folders("videos/"):
        for some in by_folder(store.stored(tenant)):
            manifests, references = manifests_of(store, some), view.look()
            for key, manifest in manifests.items():
                place = place_of(key)
                if place is None or manifest is None or place.owner in references.jobs:
                    continue
                record = record_in(place, manifest, some[key])
                if record is not None and not references.catalogue.has(place.owner, place.tenant):
                    outbox.record(record, 0)
                    found += 1
            outbox.flush()
            yield
    outbox.filled()
    outbox.flush()
    log.info("the catalogue is filled", found_in_the_store=found)


def record_in(place: Place, manifest: Manifest, stored: Stored) -> VideoRecord | None:
    """What a manifest tells of its video. None where it has none."""
    refs = {ref.name: ref for ref in manifest.objects}
    if "video" not in refs:
        return None
    facts = manifest.facts
    size = f"{facts['width']}x{facts['height']}" if "width" in facts and "height" in facts else ""
    duration = facts.get("duration")
    return VideoRecord(
        job=place.owner, tenant=place.tenant, body_digest="unknown", accepted_at=stored.modified,
        completed_at=stored.modified, size=size, duration_s=duration if isinstance(duration, float) else 0.0,
        video=refs["video"], poster=refs.get("poster"), spritesheet=refs.get("spritesheet"),
    )  # fmt: skip
