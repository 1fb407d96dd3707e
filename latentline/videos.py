"""Objects of a job in the store, brought to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.job import JobState
from schemas.stage import STAGES, Stage
from schemas.store_layout import MANIFEST

if TYPE_CHECKING:
    from stages.storage.artifacts import ArtifactStore


def download(store: ArtifactStore, job: str, ref: ObjectRef, target: Path) -> bytes:
    """Save a published object whole or not at all, checked by its digest; returns its bytes.

    Raises `InputLost` when it is gone or damaged, `StoreUnavailable`, `OSError` for a target that cannot be written.
    """
    manifest = f"{ref.key.rpartition('/')[0]}/{MANIFEST}"
    published = ArtifactRef(stage=Stage.MUX, key=job, manifest_key=manifest, etag="")
    data = store.read(ref, published)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(data)
    partial.replace(target)
    return data


def artifacts(store: ArtifactStore, state: JobState) -> dict[Stage, tuple[ObjectRef, ...]]:
    """The objects of each stage whose output exists. Raises `StoreUnavailable`, `InputLost`."""
    published = {stage: state.stages[stage].artifact for stage in STAGES if stage in state.stages}
    return {stage: store.read_manifest(found).objects for stage, found in published.items() if found is not None}
