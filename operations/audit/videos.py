"""The promises about kept and deleted videos: what is kept is in the catalogue and whole, what is deleted is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from operations.audit.object_places import Kind, Place, place_of
from operations.audit.objects import StoreListing
from operations.audit.report import Violation
from schemas.base import Frozen
from schemas.catalogue import FILLED, CatalogueFilled, CatalogueRecord, VideoRecord
from schemas.events.prompts import DeleteRequested
from schemas.job import JobState, JobStatus
from schemas.stage import Stage

KEPT, GONE = "what is kept is in the catalogue", "what is deleted is gone"
GONE_WITHIN_S = 15 * 60.0
"""From a deletion on: until then a lost worker may put files back, and the janitor looks for them."""
CATALOGUED_SINCE = 4
"""The format of job states with which the catalogue came."""


@dataclass
class Videos:
    """`videos`, taken in record by record. `requests`: origins of deletes that are still to be done."""

    records: dict[str, VideoRecord] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)
    is_filled: bool = False

    def take(self, key: str, event: Frozen | None) -> None:
        """The next record; None is a tombstone."""
        if isinstance(event, CatalogueRecord | VideoRecord):
            self.records[key] = event.record
        elif isinstance(event, DeleteRequested):
            self.requests.add(key)
        elif isinstance(event, CatalogueFilled):
            self.is_filled = self.is_filled or key == FILLED
        else:
            self.records.pop(key, None)
            self.requests.discard(key)

    def must_have(self, asked: DeleteRequested, origin: str) -> bool:
        """Whether a delete that the coordinator has answered for was lost: the video is there, and nobody is at it."""
        record = self.records.get(asked.job)
        return record is not None and record.tenant == asked.tenant and origin not in self.requests


def check_catalogue(
    states: Iterable[JobState], videos: Videos, listing: StoreListing, deleted: Collection[str]
) -> Iterator[Violation]:
    """`deleted`: jobs that were deleted, and records that went, while log and store were read.

    Files are looked at here of jobs that are forgotten; of the others `objects` does.
    """
    known = set[str]()
    for state in states:
        known.add(state.job)
        is_told = state.status is JobStatus.COMPLETED and state.format >= CATALOGUED_SINCE and state.video is not None
        if is_told and state.job not in videos.records and state.job not in deleted:
            yield Violation(KEPT, state.job, "its video has no record")
    for job, record in videos.records.items():
        for ref in () if job in known or job in deleted else record.objects:
            if fault := listing.fault(ref):
                yield Violation(KEPT, ref.key, f"the {ref.name} of {job} is not as its record promises: {fault}")


def check_gone(states: Iterable[JobState], listing: StoreListing, now: float) -> Iterator[Violation]:
    """Of a job that was deleted a while ago nothing is left but outputs that another job of its tenant refers to."""
    known = list(states)
    kept = {output for state in known if state.status is not JobStatus.DELETED for output in outputs_of(state)}
    folders: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for key in listing.objects:
        if place := place_of(key):
            folders[identity(place)].append(key)
    for state in known:
        if state.status is JobStatus.DELETED and (state.deleted_at or state.updated_at) < now - GONE_WITHIN_S:
            for output in {(state.tenant, str(Stage.MUX), state.job), *outputs_of(state)} - kept:
                for key in folders.get(output, ()):
                    yield Violation(GONE, key, f"{state.job} was deleted")


def outputs_of(state: JobState) -> set[tuple[str, str, str]]:
    return {
        (state.tenant, str(stage), record.key) for stage, record in state.stages.items() if stage is not Stage.MUX
    }  # fmt: skip


def identity(place: Place) -> tuple[str, str, str]:
    return place.tenant, str(Stage.MUX) if place.kind is Kind.VIDEO else place.stage, place.owner


def check_owners(
    states: Iterable[JobState], videos: Videos, listing: StoreListing, oldest: float
) -> Iterator[Violation]:
    """No finished video older than `oldest`, unix seconds, is one that neither a job nor the catalogue knows."""
    known = {state.job for state in states if state.status is not JobStatus.DELETED}
    for key in listing.manifests if videos.is_filled else ():
        place = place_of(key)
        if place is None or place.kind is not Kind.VIDEO or key not in listing.objects:
            continue
        record = videos.records.get(place.owner)
        is_owned = place.owner in known or (record is not None and record.tenant == place.tenant)
        if not is_owned and listing.objects[key].modified < oldest:
            yield Violation("no orphan stays", key, "neither a job nor the catalogue knows this video")
