"""How long stages take here, learned from jobs that have completed: seconds of work left, as a range."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from schemas.job import JobState, JobStatus
from schemas.recipe import Recipe
from schemas.stage import STAGES, Stage
from streams.gateway.read_model import Row

KEPT = 100
MOST_KINDS = 1000
Kind = tuple[str, Stage, int, int]
"""Model, stage, pixels of all frames, denoise steps."""


@dataclass
class Pace:
    """Seconds of each stage by kind of job. Changed by one thread, read by many."""

    seconds: dict[Kind, deque[float]] = field(default_factory=dict)

    def learn(self, state: JobState) -> None:
        if state.status is not JobStatus.COMPLETED or state.recipe is None:
            return
        for stage, record in state.stages.items():
            kind = kind_of(state.recipe, stage)
            if not record.reused and record.resumed_from_step is None and len(self.seconds) < MOST_KINDS:
                self.seconds.setdefault(kind, deque(maxlen=KEPT)).append(record.seconds)

    def left(self, row: Row) -> tuple[float, float] | None:
        """Median and 90th percentile of the seconds of work left; None where nothing like it has completed yet."""
        recipe = row.state.recipe
        if recipe is None or not row.state.stages:
            return None
        low = high = 0.0
        for stage in STAGES:
            if row.state.stages[stage].artifact is not None:
                continue
            known = self.seconds.get(kind_of(recipe, stage))
            if not known:
                return None
            share = share_left(row, stage)
            middle, ninetieth = spread(tuple(known))
            low, high = low + share * middle, high + share * ninetieth
        return round(low, 1), round(high, 1)


def kind_of(recipe: Recipe, stage: Stage) -> Kind:
    pixels = recipe.width * recipe.height * recipe.num_frames
    return recipe.model, stage, pixels, recipe.num_inference_steps if stage is Stage.DENOISE else 0


def share_left(row: Row, stage: Stage) -> float:
    if stage is not row.state.stage or not row.steps:
        return 1.0
    return 1 - (row.step or 0) / row.steps


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile."""
    if len(values) < 2:
        return values[0], values[0]
    return median(values), quantiles(values, n=10, method="inclusive")[-1]
