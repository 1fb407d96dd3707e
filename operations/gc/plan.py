"""What can be freed, and how much there is of what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from operations.audit.object_places import Kind, Place, place_of
from operations.audit.objects import StoreListing
from operations.gc.references import References
from schemas.events.artifacts import Manifest
from stages.storage.object_store import Stored

Folders = dict[Place, list[str]]


@dataclass(frozen=True)
class Unreferenced:
    """Objects of one folder that nobody needs, as they were listed. `whole`: nobody refers to the folder; else no
    manifest names them.

    `manifest`: the one that goes with the whole folder, if it could be read.
    """

    place: Place
    whole: bool
    stored: Mapping[str, Stored]
    manifest: Manifest | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(sorted(self.stored))

    @property
    def size(self) -> int:
        return sum(each.size for each in self.stored.values())

    @property
    def why(self) -> str:
        return "nobody refers to it" if self.whole else "no manifest names it"


@dataclass(frozen=True)
class Usage:
    objects: int = 0
    size: int = 0


def unreferenced(listing: StoreListing, references: References, oldest: float) -> list[Unreferenced]:
    """`oldest`: unix seconds; what was written since is left alone, with the whole folder where nobody refers to that.

    What a deleted job has left is loose however young it is. A finished video is, once neither its job nor the
    catalogue knows it; never before the catalogue is filled.
    """
    found = (
        unreferenced_of(place, keys, listing, references, oldest) for place, keys in folders(listing.objects).items()
    )
    return sorted((each for each in found if each), key=lambda each: each.place.folder)


def folders(keys: Iterable[str]) -> Folders:
    """Keys by folder; what is not the line's is left out."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    places: dict[str, Place] = {}
    for key in keys:
        place = place_of(key)
        if place is not None:
            found[place.folder].append(key)
            # A checkpoint's place stands for its folder only where there is nothing else.
            if place.kind is not Kind.CHECKPOINT or place.folder not in places:
                places[place.folder] = place
    return {places[folder]: keys for folder, keys in found.items()}


def unreferenced_of(
    place: Place, keys: list[str], listing: StoreListing, references: References, oldest: float
) -> Unreferenced | None:  # fmt: skip
    manifest, objects = listing.manifests.get(place.manifest), listing.objects
    if is_needed(place, manifest, references):
        if manifest is None:
            return None
        kept = {place.manifest, *(ref.key for ref in manifest.objects)}
        left = [key for key in keys if key not in kept and objects[key].modified < oldest]
        return made(place, False, {key: objects[key] for key in left})
    is_old = references.is_deleted(place) or all(objects[key].modified < oldest for key in keys)
    return made(place, True, {key: objects[key] for key in keys}, manifest) if is_old else None


def is_needed(place: Place, manifest: Manifest | None, references: References) -> bool:
    if place in references:
        return True
    is_video = place.kind is Kind.VIDEO and manifest is not None
    return is_video and not references.catalogue.is_filled and not references.is_deleted(place)


def made(
    place: Place, whole: bool, stored: Mapping[str, Stored], manifest: Manifest | None = None
) -> Unreferenced | None:
    return Unreferenced(place, whole, stored, manifest) if stored else None


def usage(listing: StoreListing, references: References) -> dict[tuple[str, str, Kind], Usage]:
    """By tenant, stage and kind. Orphans are what could be freed, however young."""
    orphans = {key for each in unreferenced(listing, references, float("inf")) for key in each.keys}
    sums: dict[tuple[str, str, Kind], Usage] = {}
    for group, size in grouped(listing, orphans):
        before = sums.get(group, Usage())
        sums[group] = Usage(before.objects + 1, before.size + size)
    return dict(sorted(sums.items()))


def grouped(listing: StoreListing, orphans: set[str]) -> Iterator[tuple[tuple[str, str, Kind], int]]:
    for key, stored in listing.objects.items():
        place = place_of(key)
        if place is not None:
            yield (place.tenant, place.stage, Kind.ORPHAN if key in orphans else place.kind), stored.size
