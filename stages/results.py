"""What a task has come to: an output that waits for the store, or a result that is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.tasks import Task
from stages.contract import Fact, Output


@dataclass(frozen=True)
class Result:
    """What became of a task that succeeded. `timings`: seconds by part."""

    artifact: ArtifactRef
    objects: tuple[ObjectRef, ...]
    seconds: float
    reused: bool
    resumed_from_step: int | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """An output that is computed and not yet in the store. `timings`: seconds by part, so far."""

    task: Task
    output: Output
    bit_class: str
    timings: Mapping[str, float]
