"""The promises about the store: what is referenced is there as promised, and nothing lies about for ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from operations.audit.report import Violation
from schemas.events.artifacts import Manifest, ObjectRef
from schemas.job import JobState, JobStatus
from stages.storage.object_store import Stored

MANIFEST = "/manifest.json"
REFERENCED = "what is referenced exists"


@dataclass(frozen=True)
class StoreListing:
    """The store as it was found, by object key. A manifest is None where it could not be read.

    `digests`: of the bytes that are there, where somebody looked.
    """

    objects: Mapping[str, Stored] = field(default_factory=dict)
    manifests: Mapping[str, Manifest | None] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    def fault(self, ref: ObjectRef) -> str | None:
        """What is wrong with an object that was promised."""
        stored = self.objects.get(ref.key)
        if stored is None:
            return "it is missing"
        if stored.size != ref.size:
            return f"it has {stored.size} bytes, not {ref.size}"
        if self.digests.get(ref.key, ref.sha256) != ref.sha256:
            return "it does not match its digest"
        return None


def check_references(state: JobState, listing: StoreListing, ended_after: float = 0.0) -> Iterator[Violation]:
    """Outputs of a job that is under way or completed. Another etag than the one it names is a repair of the same.

    Of a job that ended before `ended_after`, unix seconds, the video alone: the rest may have been freed.
    """
    if state.status in (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.DELETED):
        return
    yield from check_video(state, listing)
    if state.status.ended and (state.ended_at or 0.0) < ended_after:
        return
    for stage, record in state.stages.items():
        artifact = record.artifact
        if artifact is None:
            continue
        manifest = listing.manifests.get(artifact.manifest_key)
        if artifact.manifest_key not in listing.manifests:
            yield Violation(REFERENCED, artifact.manifest_key, f"the {stage} output of {state.job} is missing")
        elif manifest is not None and (manifest.stage, manifest.key) != (stage, artifact.key):
            yield Violation(REFERENCED, artifact.manifest_key, f"it is not the {stage} output of {state.job}")


def check_video(state: JobState, listing: StoreListing) -> Iterator[Violation]:
    for ref in (state.video, state.poster, state.spritesheet):
        if ref is not None and (fault := listing.fault(ref)):
            yield Violation(REFERENCED, ref.key, f"the {ref.name} of {state.job} is not as promised: {fault}")


def check_manifests(listing: StoreListing) -> Iterator[Violation]:
    """A manifest makes an output exist: every object that it names is there, with its size and digest."""
    for place, manifest in listing.manifests.items():
        if manifest is None:
            yield Violation("a manifest is whole", place, "it cannot be read")
            continue
        for ref in manifest.objects:
            if fault := listing.fault(ref):
                yield Violation("a manifest is whole", ref.key, f"{place} promises it, and {fault}")


def check_orphans(listing: StoreListing, states: Iterable[JobState], oldest: float) -> Iterator[Violation]:
    """Nothing that no manifest names, and no manifest under `artifacts/` that no job names, is older than `oldest`.

    Videos outlive what is remembered of their jobs: see `videos`.
    """
    known = {record.key for state in states for record in state.stages.values()}
    named = {ref.key for manifest in listing.manifests.values() if manifest for ref in manifest.objects}
    for key, stored in listing.objects.items():
        if stored.modified >= oldest:
            continue
        if key.endswith(MANIFEST):
            manifest = listing.manifests.get(key)
            if key.startswith("artifacts/") and manifest is not None and manifest.key not in known:
                yield Violation("no orphan stays", key, "no job knows this output")
        elif key not in named:
            yield Violation("no orphan stays", key, "no manifest names this object")
