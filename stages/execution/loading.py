"""A stage of a bundle, loaded and warm. Each imports only what it needs: mux never loads torch."""

from __future__ import annotations

from pathlib import Path

from schemas.stage import Stage
from stages.contract import StageRunner
from stages.execution.checkpoint_interval import IntervalRule

DEFAULT = IntervalRule()


def load_stage(
    stage: Stage, folder: Path, device: str = "cpu", threads: int = 1, intervals: IntervalRule = DEFAULT
) -> StageRunner:
    """Every file that the stage loads is hashed first, which costs a second for one to two gigabytes and a thread.

    Raises `WrongWeights` for a file that the manifest was not written for, what diffusers raises for a folder that is
    no bundle, `FileNotFoundError` without a manifest.
    """
    if stage is Stage.MUX:
        from stages.mux import Mux

        return Mux()
    from gpu_runner.bundle import Bundle
    from gpu_runner.device import configure
    from gpu_runner.families import family_of

    bundle = Bundle.open(folder)
    family = family_of(bundle.manifest.family)(bundle, configure(device, threads))
    bundle.check_files(stage, family.components[stage])
    if stage is Stage.ENCODE:
        from stages.encode import Encode

        return Encode(family)
    if stage is Stage.DENOISE:
        from stages.denoise import DenoiseStage

        return DenoiseStage(family, intervals)
    from stages.decode import Decode

    return Decode(family)


def bit_class(stage: Stage, device: str, threads: int) -> str:
    """The bit class that the stage's outputs belong to; mux computes nothing that a device could change."""
    if stage is Stage.MUX:
        return "any"
    from gpu_runner.device import bit_class as of_device

    return of_device(device, threads)
