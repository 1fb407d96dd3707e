"""The artifact store: one manifest a stage key, first writer wins; checkpoints by stage key and bit class."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from schemas import store_layout
from schemas.base import construct
from schemas.events.artifacts import ArtifactRef
from schemas.events.tasks import Task


@dataclass(frozen=True)
class Kept:
    """A manifest, and whether the objects that it promises are there."""

    ref: ArtifactRef
    whole: bool = True


@dataclass
class Store:
    kept: dict[str, Kept] = field(default_factory=dict)
    checkpoints: dict[tuple[str, str], int] = field(default_factory=dict)
    lost: int = 0

    def hit(self, task: Task) -> ArtifactRef | None:
        """An earlier output of the same key that is whole and not condemned."""
        found = self.kept.get(task.key)
        return found.ref if found and found.whole and found.ref.etag != task.condemned_etag else None

    def publish(self, task: Task) -> ArtifactRef:
        """What is published now: an earlier writer's, if that is good."""
        ref = self.hit(task)
        if ref is None:
            etag = f"{task.key[:8]}-{task.lease}"
            place = store_layout.folder(task.tenant, task.stage, task.key, task.job)
            manifest = f"{place}/{store_layout.MANIFEST}"
            ref = construct(ArtifactRef, stage=task.stage, key=task.key, manifest_key=manifest, etag=etag)
            self.kept[task.key] = Kept(ref)
        return ref

    def is_readable(self, ref: ArtifactRef) -> bool:
        """By key: whichever writer's manifest is there now will do."""
        found = self.kept.get(ref.key)
        return found is not None and found.whole

    def lose(self, key: str) -> None:
        """The objects of an output are gone or corrupt; its manifest still promises them."""
        found = self.kept.get(key)
        if found is not None:
            self.kept[key] = replace(found, whole=False)
            self.lost += 1

    def forget(self, key: str, bit_class: str) -> None:
        """Retention: nobody asks for it any more."""
        self.kept.pop(key, None)
        self.checkpoints.pop((key, bit_class), None)

    def save_checkpoint(self, key: str, bit_class: str, step: int) -> None:
        self.checkpoints[key, bit_class] = max(step, self.checkpoints.get((key, bit_class), 0))
