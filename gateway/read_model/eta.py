"""How long stages take here, learned from jobs that have completed and from the steps of the one that runs: seconds of
work left, as a range."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from gateway.read_model.job_record import AnyJob, RecipeRecord
from gateway.read_model.rows import Row
from schemas.job import JobStatus
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage

KEPT = 100
MOST_KINDS = 1000
Kind = tuple[str, Stage, int, int]
"""Model, stage, pixels of all frames, denoise steps."""


@dataclass
class EtaEstimator:
    """Seconds of each stage by kind of job. Changed by one thread, read by many."""

    seconds: dict[Kind, deque[float]] = field(default_factory=dict)

    def learn(self, state: AnyJob) -> None:
        if state.status is not JobStatus.COMPLETED or state.recipe is None:
            return
        for stage, record in state.stages.items():
            kind = kind_of(state.recipe, stage)
            if not record.reused and record.resumed_from_step is None and len(self.seconds) < MOST_KINDS:
                self.seconds.setdefault(kind, deque(maxlen=KEPT)).append(record.seconds)

    def left(self, row: Row) -> tuple[float, float] | None:
        """Median and 90th percentile of the seconds of work left.

        None where nothing like it has completed yet and no step of its own has been timed. By its own steps alone, the
        stages that nothing is known of (the short ones after them) count as nothing.
        """
        recipe = row.state.recipe
        if recipe is None or not row.state.stages:
            return None
        low = high = 0.0
        for stage in STAGES:
            if row.state.stages[stage].artifact is not None:
                continue
            known, own = self.seconds.get(kind_of(recipe, stage)), own_pace(row, stage)
            if not known and own_pace(row, row.state.stage) is None:
                return None
            share = share_left(row, stage)
            middle, ninetieth = (
                (share * seconds for seconds in percentiles(tuple(known))) if known else (own or 0.0,) * 2
            )
            low += middle if own is None else min(own, middle)
            high += ninetieth if own is None else max(own, ninetieth)
        return round(low, 1), round(high, 1)


def kind_of(recipe: Recipe | RecipeRecord, stage: Stage) -> Kind:
    pixels = recipe.width * recipe.height * recipe.num_frames
    return recipe.model, stage, pixels, recipe.num_inference_steps if stage is Stage.DENOISE else 0


def share_left(row: Row, stage: Stage) -> float:
    if stage is not row.state.stage or not row.steps:
        return 1.0
    return 1 - (row.step or 0) / row.steps


def own_pace(row: Row, stage: Stage | None) -> float | None:
    """Seconds left of the stage that runs, if all its steps take as long as the last one."""
    if stage is not row.state.stage or row.step is None or row.steps is None or row.step_seconds is None:
        return None
    return (row.steps - row.step) * row.step_seconds


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile."""
    if len(values) < 2:
        return values[0], values[0]
    return median(values), quantiles(values, n=10, method="inclusive")[-1]
