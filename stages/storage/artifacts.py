"""Artifacts in an object store: objects named by content, a manifest put last, first writer wins.

    artifacts/{tenant}/{stage}/{stage key}/{sha256}          objects
    artifacts/{tenant}/{stage}/{stage key}/manifest.json     what makes the output exist
    videos/{tenant}/{job}/...                                the outputs of mux, per job

So an output that exists is whole, whatever ended its writer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from schemas import store_layout
from schemas.digest import sha256
from schemas.errors import InputLost
from schemas.events.artifacts import ArtifactRef, Manifest, ObjectRef
from schemas.events.tasks import Task
from stages.contract import Blob
from stages.storage.object_store import Conflict, ObjectStore


class ManifestUnreadable(Exception):
    """There is a manifest at `etag` that is not one of ours or does not parse."""

    def __init__(self, etag: str) -> None:
        self.etag = etag
        super().__init__(etag)


@dataclass(frozen=True)
class Published:
    manifest: Manifest
    ref: ArtifactRef


@dataclass
class ArtifactStore(ObjectStore):
    """Reads raise `InputLost` for what is not as its manifest promises."""

    cache_limit: int = 64 * 1024 * 1024
    _cache: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    @staticmethod
    def folder_of(task: Task) -> str:
        return store_layout.folder(task.tenant, task.stage, task.key, task.job)

    # -- objects -------------------------------------------------------------------------------------------------

    def put(self, folder: str, blob: Blob) -> ObjectRef:
        """Store an object under its own digest; writing it again changes nothing."""
        digest = sha256(blob.data)
        key = store_layout.file(folder, digest, blob.media_type)
        self.write(key, blob.data, blob.media_type, "video" if key.startswith("videos/") else "object")
        self._remember(key, blob.data)
        return ObjectRef(name=blob.name, key=key, size=len(blob.data), sha256=digest, media_type=blob.media_type)

    def put_preview(self, tenant: str, job: str, picture: bytes) -> None:
        """A webp in the place of the one before: no manifest promises it."""
        self.write(store_layout.preview(tenant, job), picture, "image/webp", "preview")

    def read(self, ref: ObjectRef, source: ArtifactRef) -> bytes:
        """The bytes that `source`'s manifest promises. Raises `InputLost` when they are gone or not those bytes."""
        data = self._cache.get(ref.key)
        if data is None:
            data = self.fetch(ref.key, "object", longest=ref.size)
        if data is None:
            raise InputLost(source.stage, source.key, source.etag, f"object {ref.name} is missing")
        if len(data) != ref.size or sha256(data) != ref.sha256:
            self._cache.pop(ref.key, None)
            raise InputLost(source.stage, source.key, source.etag, f"object {ref.name} does not match its digest")
        return data

    def exists(self, ref: ObjectRef) -> bool:
        return self.has(ref.key, ref.size)

    def _remember(self, key: str, data: bytes) -> None:
        """What was just written is often what the next stage of the same worker reads."""
        self._cache[key] = data
        while sum(map(len, self._cache.values())) > self.cache_limit:
            self._cache.popitem(last=False)

    # -- manifests -----------------------------------------------------------------------------------------------

    def find(self, folder: str) -> Published | None:
        """What is published there, or None.

        Raises `ManifestUnreadable` for what is no manifest, or one that names objects outside of its folder.
        """
        place = f"{folder}/{store_layout.MANIFEST}"
        found = self.fetch_with_etag(place, "manifest")
        if found is None:
            return None
        data, etag = found
        try:
            manifest = Manifest.read(data)
        except ValueError:
            raise ManifestUnreadable(etag) from None
        if not store_layout.holds(folder, *(ref.key for ref in manifest.objects)):
            raise ManifestUnreadable(etag)
        return Published(manifest, ArtifactRef(stage=manifest.stage, key=manifest.key, manifest_key=place, etag=etag))

    def read_manifest(self, ref: ArtifactRef) -> Manifest:
        """What is published where `ref` says: at another etag it was made again, and is as good. Raises `InputLost`."""
        try:
            found = self.find(ref.manifest_key.removesuffix(f"/{store_layout.MANIFEST}"))
        except ManifestUnreadable:
            raise InputLost(ref.stage, ref.key, ref.etag, "the manifest is corrupt") from None
        if found is None:
            raise InputLost(ref.stage, ref.key, ref.etag, "the manifest is missing")
        if found.ref.key != ref.key:
            raise InputLost(ref.stage, ref.key, ref.etag, "the manifest is another one")
        return found.manifest

    def publish(self, folder: str, manifest: Manifest, replaces: str | None = None) -> Published:
        """Make an output exist. If somebody was first, theirs is returned: it is as good.

        `replaces`: the etag of the manifest whose place it takes, condemned or torn; if it is still there.
        """
        place = f"{folder}/{store_layout.MANIFEST}"
        try:
            etag = self.write_if(place, manifest.to_bytes(), replaces, "manifest")
        except Conflict:
            return self._winner(folder, manifest, replaces)
        ref = ArtifactRef(stage=manifest.stage, key=manifest.key, manifest_key=place, etag=etag)
        return Published(manifest, ref)

    def _winner(self, folder: str, manifest: Manifest, replaces: str | None) -> Published:
        try:
            found = self.find(folder)
        except ManifestUnreadable as error:
            return self.publish(folder, manifest, replaces=error.etag)
        if found is not None and found.ref.etag != replaces:
            return found
        return self.publish(folder, manifest, replaces=None if found is None else found.ref.etag)
