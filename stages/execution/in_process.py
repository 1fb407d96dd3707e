"""The four stages one after another in this process, without broker or store: to judge a model, and for tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from schemas.bundle import MANIFEST_NAME, BundleManifest
from schemas.events.tasks import Task
from schemas.recipe import Recipe
from schemas.stage import STAGES
from schemas.stage_keys import stage_keys
from stages.contract import Checkpoint, Checkpoints, StageRunner
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.loading import load_stage

NEVER = IntervalRule.fixed(math.inf)


class NoCheckpoints:
    def latest(self) -> Checkpoint | None:
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        pass


class Undisturbed:
    """A context in which nobody watches and nobody interrupts."""

    checkpoints: Checkpoints = NoCheckpoints()

    def progress(self, step: int, steps: int, step_seconds: float | None = None) -> None:
        pass

    def raise_if_interrupted(self) -> None:
        pass

    def checkpoint_saved(self, step: int) -> None:
        pass

    def preview(self, step: int, picture: bytes) -> None:
        pass


@dataclass(frozen=True)
class InProcessLine:
    """All stages of one bundle, loaded and warm; each still loads its own components only."""

    bundle: BundleManifest
    runners: tuple[StageRunner, ...]

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", threads: int = 1) -> InProcessLine:
        """Raises as `load_stage` does."""
        bundle = BundleManifest.read((folder / MANIFEST_NAME).read_bytes())
        return cls(bundle, tuple(load_stage(stage, folder, device, threads, NEVER) for stage in STAGES))

    def run(self, recipe: Recipe, job: str) -> dict[str, bytes]:
        """The objects of the last stage by name: `video` is the finished mp4, `poster` a webp."""
        keys = stage_keys(recipe, self.bundle, job)
        objects: dict[str, bytes] = {}
        for runner in self.runners:
            stage = runner.stage
            task = Task(
                incarnation="in-process", lease=1, job=job, tenant="default", stage=stage, key=keys[stage],
                recipe=recipe, attempt=1,
            )  # fmt: skip
            inputs = {name: objects[name] for name in runner.reads}
            objects = {blob.name: blob.data for blob in runner.run(task, inputs, Undisturbed()).objects}
        return objects
