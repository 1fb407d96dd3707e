"""What a running stage may ask of its surroundings, in the compute child: see `stages.contract.Context`."""

from __future__ import annotations

from collections.abc import Callable

from schemas.errors import Cancelled, Preempted
from stages.contract import Checkpoints
from streams.worker.compute.messages import Checkpointed, FromChild, Interruption, Previewed, Stepped


class ChildContext:
    """One task's context. `interruptions` is filled by the thread that reads the pipe."""

    def __init__(
        self, lease: int, checkpoints: Checkpoints, interruptions: dict[int, Interruption],
        send: Callable[[FromChild], None], put_preview: Callable[[bytes], None],
    ) -> None:  # fmt: skip
        self.checkpoints = checkpoints
        self.durable_step: int | None = None
        self._lease, self._interruptions, self._send, self._put_preview = lease, interruptions, send, put_preview

    def progress(self, step: int, steps: int, step_seconds: float | None = None) -> None:
        self._send(Stepped(self._lease, step, steps, step_seconds))

    def raise_if_interrupted(self) -> None:
        how = self._interruptions.get(self._lease)
        if how == "cancel":
            raise Cancelled("the lease was cancelled")
        if how == "preempt":
            raise Preempted("the worker is about to leave")

    def checkpoint_saved(self, step: int) -> None:
        self.durable_step = step
        self._send(Checkpointed(self._lease, step))

    def preview(self, step: int, picture: bytes) -> None:
        self._put_preview(picture)
        self._send(Previewed(self._lease, step))
