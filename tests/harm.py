"""Outputs changed or removed behind the line's back, as a bad disk or a careless hand does it."""

from __future__ import annotations

from collections.abc import Callable

from schemas.events.artifacts import ArtifactRef, ObjectRef
from stages.storage.artifacts import ArtifactStore

Harm = Callable[[ArtifactStore, ArtifactRef, ObjectRef], str]
"""Does it to an output, or to an object of it; returns the object key that is not as promised now."""


def corrupt_object(store: ArtifactStore, ref: ArtifactRef, target: ObjectRef) -> str:
    """Of the same size: only the digest tells."""
    store._put(target.key, b"\0" * target.size, target.media_type)
    return target.key


def delete_object(store: ArtifactStore, ref: ArtifactRef, target: ObjectRef) -> str:
    store.remove(target.key)
    return target.key


def corrupt_manifest(store: ArtifactStore, ref: ArtifactRef, target: ObjectRef) -> str:
    store._put(ref.manifest_key, b"{torn", "application/json")
    return ref.manifest_key


def delete_manifest(store: ArtifactStore, ref: ArtifactRef, target: ObjectRef) -> str:
    store.remove(ref.manifest_key)
    return ref.manifest_key


HARMS: dict[str, Harm] = {
    "corrupt object": corrupt_object, "delete object": delete_object,
    "corrupt manifest": corrupt_manifest, "delete manifest": delete_manifest,
}  # fmt: skip
