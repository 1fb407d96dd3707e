"""Read the store: every object of the line, every manifest, and on demand every digest."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from operations.audit.objects import MANIFEST, StoreListing
from schemas.events.artifacts import Manifest
from stages.storage.artifacts import ArtifactStore, ManifestUnreadable
from stages.storage.object_store import Stored

PREFIXES = ("artifacts/", "videos/")
READERS = 4


def read_shelves(store: ArtifactStore, now: float, digests: bool = True) -> StoreListing:
    """Raises `StoreUnavailable`. `digests`: read every object that a manifest names and digest it."""
    objects = {key: stored for prefix in PREFIXES for key, stored in store.stored(prefix).items()}
    manifests = manifests_of(store, objects)
    named = {ref.key: ref for manifest in manifests.values() if manifest for ref in manifest.objects}
    # A listing takes its time: what it passed before it was put is asked for by name.
    objects |= {
        key: Stored(ref.size, now) for key, ref in named.items() if key not in objects and store.exists(ref)
    }  # fmt: skip
    wanted = sorted(named.keys() & objects.keys()) if digests else []
    return StoreListing(objects, manifests, digests_of(store, wanted))


def manifests_of(store: ArtifactStore, keys: Iterable[str]) -> dict[str, Manifest | None]:
    return dict(found for key in keys if key.endswith(MANIFEST) for found in read_manifest(store, key))


def read_manifest(store: ArtifactStore, key: str) -> list[tuple[str, Manifest | None]]:
    """None for one that cannot be read; nothing for one that has gone since the listing."""
    try:
        found = store.find(key.removesuffix(MANIFEST))
    except ManifestUnreadable:
        return [(key, None)]
    return [] if found is None else [(key, found.manifest)]


def digests_of(store: ArtifactStore, keys: Collection[str]) -> dict[str, str]:
    with ThreadPoolExecutor(READERS, thread_name_prefix="digest") as readers:
        found = zip(keys, readers.map(store.digest_of, keys), strict=True)
        return {key: digest for key, digest in found if digest is not None}
