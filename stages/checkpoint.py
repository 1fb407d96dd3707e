"""When a running stage is saved, and the thread that saves it beside the next step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from stages.contract import Checkpoint, Context

log = logging.getLogger(__name__)


class State(Protocol):
    def to_bytes(self) -> bytes: ...


class CheckpointWriter:
    """At most one checkpoint is on its way; while it is, the next one waits for a later step.

    A checkpoint that cannot be saved is logged and costs nothing but the chance to resume from it.
    """

    def __init__(self, context: Context, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.context, self.interval, self.clock = context, interval, clock
        self._last = clock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def is_due(self) -> bool:
        """Whether `interval` seconds of work have passed since the last one, and that one is saved."""
        busy = self._pending is not None and not self._pending.done()
        return not busy and self.clock() - self._last >= self.interval

    def save(self, step: int, state: State) -> None:
        """Serialise and store it in the background."""
        self._last = self.clock()
        self._pending = self._thread.submit(self._write, step, state.to_bytes)

    def save_now(self, step: int, data: bytes) -> None:
        """Store it before going on: the worker is about to leave."""
        if step > 0:
            self._write(step, lambda: data)

    def _write(self, step: int, data: Callable[[], bytes]) -> None:
        try:
            self.context.checkpoints.save(Checkpoint(step, data()))
        except Exception as error:
            log.warning("checkpoint_not_saved", extra={"step": step, "error": str(error)})
        else:
            self.context.checkpoint_saved(step)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
