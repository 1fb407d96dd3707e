"""Checkpoints in the store: immutable objects, each named by the digest of its bytes, so that a torn one is known.

Below a denoise output's folder: `checkpoint/{bit class}/{step}-{lease}-{sha256}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.digest import sha256
from schemas.events.tasks import Task
from stages.contract import Checkpoint
from stages.storage.artifacts import ArtifactStore

CHECKPOINTS_KEPT = 2
CHECKPOINT_NAME = re.compile(r"/(\d+)-(\d+)-([0-9a-f]{64})$")


@dataclass(frozen=True)
class StoredCheckpoints:
    """Checkpoints of one task in one bit class: immutable objects named by step, lease and digest."""

    store: ArtifactStore
    prefix: str
    lease: int

    @classmethod
    def of(cls, store: ArtifactStore, task: Task, bit_class: str) -> StoredCheckpoints:
        return cls(store, f"{store.folder_of(task)}/checkpoint/{bit_class}/", task.lease)

    def latest(self) -> Checkpoint | None:
        for step, key, digest in sorted(self._all(), reverse=True):
            data = self.store.fetch(key, "checkpoint")
            if data is not None and sha256(data) == digest:
                return Checkpoint(step, data)
        return None

    def _all(self) -> list[tuple[int, str, str]]:
        matches = [(key, CHECKPOINT_NAME.search(key)) for key in self.store.list(self.prefix)]
        return [(int(match[1]), key, match[3]) for key, match in matches if match]

    def save(self, checkpoint: Checkpoint) -> None:
        key = f"{self.prefix}{checkpoint.step:06d}-{self.lease}-{sha256(checkpoint.data)}"
        self.store.write(key, checkpoint.data, "application/vnd.safetensors", "checkpoint")
        self._prune()

    def _prune(self) -> None:
        """Keep this lease's latest two; another writer's are not ours to remove."""
        own = sorted(key for _, key, _ in self._all() if f"-{self.lease}-" in key.rpartition("/")[2])
        for key in own[:-CHECKPOINTS_KEPT]:
            self.store.remove(key)
