"""What a stage has put into the store: objects, their manifest, and a reference to it."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen
from schemas.stage import Stage
from schemas.store_layout import Etag, ObjectKey, Segment


class ObjectRef(Frozen):
    """An object in the store, promised by digest."""

    name: str = Field(description="role in its stage's output, such as `latents` or `video`")
    key: ObjectKey = Field(description="object key in the bucket")
    size: int = Field(ge=0)
    sha256: str
    media_type: str = "application/octet-stream"


class Manifest(Frozen):
    """The small object that makes a stage's output exist. It names its lease, so its etag is unique."""

    stage: Stage
    key: Segment = Field(description="stage key")
    lease: int
    objects: tuple[ObjectRef, ...]
    facts: dict[str, str | int | float | bool] = Field({}, description="what the stage measured or chose")
    bit_class: str = Field("", description="device kind, library versions and threads that made it")
    seconds: float = Field(0.0, ge=0, description="compute seconds")

    def find(self, name: str) -> ObjectRef:
        """Raises `KeyError` if the output has no object of that role."""
        for ref in self.objects:
            if ref.name == name:
                return ref
        raise KeyError(f"{self.stage} {self.key[:12]} has no object {name!r}")


class ArtifactRef(Frozen):
    """A manifest in the store, at one etag."""

    stage: Stage
    key: Segment = Field(description="stage key")
    manifest_key: ObjectKey = Field(description="object key of the manifest")
    etag: Etag
