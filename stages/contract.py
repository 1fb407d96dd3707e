"""The contract of a stage: what it reads, what it gives, and what it may ask of its surroundings.

A stage computes and nothing else: it never sees Kafka or the store. `execution.execute` fetches its inputs, calls
`run` once for a task, uploads what it returns, and publishes the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from schemas.events.tasks import Task
from schemas.stage import Stage

Fact = str | int | float | bool


@dataclass(frozen=True)
class Blob:
    """An object of an output before it has a place in the store."""

    name: str
    data: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Output:
    """What a stage made. `facts` go into the manifest (and from there into completions)."""

    objects: tuple[Blob, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)
    resumed_from_step: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The whole solver state after `step` steps, as safetensors bytes."""

    step: int
    data: bytes


class Checkpoints(Protocol):
    """The checkpoints of one task, in one bit class. Both calls may block on the store."""

    def latest(self) -> Checkpoint | None:
        """The valid checkpoint with the highest step; a torn or corrupt one is passed over."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Returns once it is durable. Called from a thread beside the next step. Raises `StoreUnavailable`."""


class Context(Protocol):
    """What a running stage may ask for. Called from the thread that computes."""

    checkpoints: Checkpoints

    def progress(self, step: int, steps: int, step_seconds: float | None = None) -> None:
        """Say that `step` of `steps` is done. Never blocks, never raises."""

    def raise_if_interrupted(self) -> None:
        """Called between any two steps or chunks. Raises `Cancelled` or `Preempted`.

        On `Preempted` a stage that can go on elsewhere saves a last checkpoint and lets the exception pass.
        """

    def checkpoint_saved(self, step: int) -> None:
        """Say that the checkpoint after `step` steps is durable."""

    def preview(self, step: int, picture: bytes) -> None:
        """Show a webp of what the output is becoming after `step` steps. From a thread beside the steps; may block on
        the store. Raises `StoreUnavailable`."""


class StageRunner(Protocol):
    """One stage of one bundle, loaded and warm. Reused for many tasks, one at a time."""

    stage: Stage
    reads: tuple[str, ...]
    """Names of the upstream objects it needs; empty for the first stage."""

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        """Compute the output of `task`.

        Raises `InvalidJob` for a job that can never succeed, `ResourceExhausted` when memory ran out, whatever
        `raise_if_interrupted` raised, and any other exception for a bug.
        """
