"""Conditioning to latents, a step at a time, with checkpoints: loads transformer and scheduler, nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping

from gpu_runner.denoise import Denoise, SolverState
from gpu_runner.device import memory_errors
from gpu_runner.families.base import Family
from schemas.errors import Preempted
from schemas.events.tasks import Task
from schemas.stage import Stage
from stages.contract import Context, Output
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.checkpoint_writer import CheckpointWriter
from stages.media.preview import PreviewWriter
from stages.tensors import from_bytes, to_blob


class DenoiseStage:
    stage = Stage.DENOISE
    reads: tuple[str, ...] = ("embeds",)

    def __init__(self, family: Family, intervals: IntervalRule) -> None:
        family.load_denoiser()
        self.family, self.intervals = family, intervals

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        embeds, checkpoint = from_bytes(inputs["embeds"]), context.checkpoints.latest()
        with memory_errors():
            run = Denoise(self.family, task.recipe, embeds)
            if checkpoint is not None:
                run.restore(SolverState.from_bytes(checkpoint.data))
        resumed = run.index or None
        writer = CheckpointWriter(context, self.intervals)
        previews = PreviewWriter.of(self.family, task.recipe, context)
        try:
            with memory_errors():
                self._loop(run, context, writer, previews)
        except Preempted:
            writer.save_now(run.state())
            raise
        finally:
            previews.close()
            writer.close()
            run.close()
        return Output((to_blob("latents", {"latents": run.latents}),), resumed_from_step=resumed)

    def _loop(self, run: Denoise, context: Context, writer: CheckpointWriter, previews: PreviewWriter) -> None:
        while not run.done:
            context.raise_if_interrupted()
            start = time.monotonic()
            run.step()
            end = time.monotonic()
            context.progress(run.index, run.steps, end - start)
            writer.stepped(start, end)
            if not run.done and run.is_resumable and writer.is_due():
                writer.save(run.state)
            if not run.done and previews.is_due():
                previews.show(run.index, run.expected)
