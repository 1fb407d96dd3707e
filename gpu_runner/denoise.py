"""The denoise loop, ours to step: between any two steps it can report, stop, and be saved whole."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import orjson
import torch
from safetensors import safe_open
from safetensors.torch import save

from gpu_runner import feature_cache
from gpu_runner.device import wait_for
from gpu_runner.families.base import Family, Tensors
from gpu_runner.schedulers import restore_scheduler, scheduler_state
from gpu_runner.tensors import checked
from schemas.recipe import Recipe

SCHEDULER_PREFIX = "scheduler."


@dataclass(frozen=True)
class SolverState:
    """Everything a run holds after `step` steps, and nothing that the recipe can give again."""

    step: int
    tensors: Tensors
    plain: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Safetensors; step and plain values in its metadata."""
        metadata = {"step": str(self.step), "plain": orjson.dumps(self.plain).decode()}
        return save({name: tensor.contiguous() for name, tensor in self.tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> SolverState:
        """Raises `InvalidTensors`."""
        with tempfile.NamedTemporaryFile(suffix=".safetensors", delete=False) as file:
            file.write(data)
        try:
            with checked(data), safe_open(file.name, framework="pt") as opened:
                metadata = opened.metadata()
                tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        finally:
            os.unlink(file.name)
        return cls(int(metadata["step"]), tensors, orjson.loads(metadata["plain"]))


class Denoise:
    """One run of one recipe. `step()` until `done`, then `latents` is the result; `close()` in any case."""

    def __init__(self, family: Family, recipe: Recipe, embeds: Tensors) -> None:
        """Raises `InvalidJob` for a recipe that the transformer cannot compute."""
        family.check(recipe)
        self.family, self.recipe, self.embeds = family, recipe, embeds
        self.scheduler = family.scheduler(recipe)
        self.steps = len(self.scheduler.timesteps)
        self.index = 0
        self.carried = self._before = family.start(recipe)
        feature_cache.use(family.denoisers, recipe.cache)
        self._latest = self._copy()

    @property
    def done(self) -> bool:
        return self.index >= self.steps

    @property
    def is_resumable(self) -> bool:
        """Whether a run that goes on from here ends in the same bits: with a feature cache, at its reset points."""
        cache = self.recipe.cache
        return cache is None or self.index % cache.cache_reset_every == 0

    @property
    def latents(self) -> torch.Tensor:
        """What decode reads; the result once the run is `done`."""
        return self.family.latents(self.recipe, self.carried)

    def expected(self) -> torch.Tensor:
        """What the latents will be, by the last step, on the CPU: see `Family.expected`. For after a step."""
        index = self.index - 1
        return self.family.expected(self.recipe, self.scheduler, index, self._before, self.carried).detach().cpu()

    def step(self) -> None:
        """Returns when the step has ended on the device, so that its seconds can be told from those of a copy."""
        self._before = self.carried
        self.carried = self.family.step(self.recipe, self.scheduler, self.index, self.carried, self.embeds)
        wait_for(self.family.device)
        self.index += 1
        if self.recipe.cache is not None and self.is_resumable:
            feature_cache.empty(self.family.denoisers)
            self._latest = self._copy()

    def state(self) -> SolverState:
        """A copy of the whole state, on the CPU, where the run was last resumable; the run may go on at once."""
        return self._copy() if self.recipe.cache is None else self._latest

    def _copy(self) -> SolverState:
        tensors, plain = scheduler_state(self.scheduler)
        tensors = self.carried | {f"{SCHEDULER_PREFIX}{name}": tensor for name, tensor in tensors.items()}
        return SolverState(self.index, {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}, plain)

    def restore(self, state: SolverState) -> None:
        """Go on where `state` was taken. Raises `ValueError` if a run of this recipe is not resumable there."""
        tensors = {name: tensor.to(self.family.device) for name, tensor in state.tensors.items()}
        self.carried = {name: t for name, t in tensors.items() if not name.startswith(SCHEDULER_PREFIX)}
        solver = {name.removeprefix(SCHEDULER_PREFIX): t for name, t in tensors.items() if name not in self.carried}
        restore_scheduler(self.scheduler, solver, state.plain)
        self.index, self._latest = state.step, state
        if not self.is_resumable:
            raise ValueError(f"the checkpoint after step {state.step} is at no reset point of {self.recipe.cache}")
        feature_cache.empty(self.family.denoisers)

    def close(self) -> None:
        """Take the feature cache off the models, and let go of what it holds."""
        feature_cache.use(self.family.denoisers, None)
