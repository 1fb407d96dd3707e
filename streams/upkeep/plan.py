"""What can be freed, and how much there is of what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from schemas.events import Manifest
from streams.audit.objects import Shelves
from streams.upkeep.holds import Holds
from streams.upkeep.places import Kind, Place, place_of

Folders = dict[Place, list[str]]


@dataclass(frozen=True)
class Loose:
    """Objects of one folder that nobody needs. `whole`: no job holds the folder; else no manifest names them.

    `manifest`: the one that goes with the whole folder, if it could be read.
    """

    place: Place
    whole: bool
    keys: tuple[str, ...]
    size: int
    manifest: Manifest | None = None

    @property
    def why(self) -> str:
        return "no job holds it" if self.whole else "no manifest names it"


@dataclass(frozen=True)
class Usage:
    objects: int = 0
    size: int = 0


def loose(shelves: Shelves, holds: Holds, oldest: float) -> list[Loose]:
    """`oldest`: unix seconds; what was written since is left alone, with the whole folder where no job holds that.

    A finished video is never loose: it outlives what is remembered of its job.
    """
    found = (loose_of(place, keys, shelves, holds, oldest) for place, keys in folders(shelves.objects).items())
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


def loose_of(place: Place, keys: list[str], shelves: Shelves, holds: Holds, oldest: float) -> Loose | None:
    manifest = shelves.manifests.get(place.manifest)
    is_held = place in holds or (place.kind is Kind.VIDEO and manifest is not None)
    old = [key for key in keys if shelves.objects[key].modified < oldest]
    if not is_held:
        return made(place, True, keys, shelves, manifest) if len(old) == len(keys) else None
    if manifest is None:
        return None
    kept = {place.manifest, *(ref.key for ref in manifest.objects)}
    return made(place, False, [key for key in old if key not in kept], shelves)


def made(
    place: Place, whole: bool, keys: list[str], shelves: Shelves, manifest: Manifest | None = None
) -> Loose | None:
    if not keys:
        return None
    return Loose(place, whole, tuple(sorted(keys)), sum(shelves.objects[key].size for key in keys), manifest)


def usage(shelves: Shelves, holds: Holds) -> dict[tuple[str, str, Kind], Usage]:
    """By tenant, stage and kind. Orphans are what could be freed, however young."""
    orphans = {key for each in loose(shelves, holds, float("inf")) for key in each.keys}
    sums: dict[tuple[str, str, Kind], Usage] = {}
    for group, size in grouped(shelves, orphans):
        before = sums.get(group, Usage())
        sums[group] = Usage(before.objects + 1, before.size + size)
    return dict(sorted(sums.items()))


def grouped(shelves: Shelves, orphans: set[str]) -> Iterator[tuple[tuple[str, str, Kind], int]]:
    for key, stored in shelves.objects.items():
        place = place_of(key)
        if place is not None:
            yield (place.tenant, place.stage, Kind.ORPHAN if key in orphans else place.kind), stored.size
