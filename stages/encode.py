"""Text to conditioning: loads tokenizer and text encoder, nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from gpu_runner.device import memory_errors
from gpu_runner.families.base import Family
from schemas.events.tasks import Task
from schemas.stage import Stage
from stages.contract import Context, Output
from stages.tensors import to_blob


class Encode:
    stage = Stage.ENCODE
    reads: tuple[str, ...] = ()

    def __init__(self, family: Family) -> None:
        family.load_encoder()
        self.family = family

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        with memory_errors():
            return Output((to_blob("embeds", self.family.encode(task.recipe)),))
