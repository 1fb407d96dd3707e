"""When a running stage is saved, and the thread that saves it beside the next step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from stages.contract import Checkpoint, Context
from stages.execution.checkpoint_interval import CheckpointCost, IntervalRule

log = logging.getLogger(__name__)


class State(Protocol):
    @property
    def step(self) -> int: ...

    def to_bytes(self) -> bytes: ...


class CheckpointWriter:
    """At most one checkpoint is on its way; while it is, the next one waits for a later step.

    A checkpoint that cannot be saved is logged and costs nothing but the chance to resume from it.
    """

    def __init__(self, context: Context, rule: IntervalRule, clock: Callable[[], float] = time.monotonic) -> None:
        self.context, self.rule, self.clock = context, rule, clock
        self.cost = CheckpointCost()
        self._last = clock()
        self._busy_until = self._last
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def stepped(self, start: float, end: float) -> None:
        """A step has run from `start` to `end`: was a save under way meanwhile?"""
        until = end if self._is_busy else self._busy_until
        self.cost.stepped(end - start, min(until, end) - start)

    def is_due(self) -> bool:
        """Whether an interval of work has passed since the last one, and that one is saved."""
        return not self._is_busy and self.clock() - self._last >= self.rule.interval(self.cost.seconds)

    @property
    def _is_busy(self) -> bool:
        return self._pending is not None and not self._pending.done()

    def save(self, copy: Callable[[], State]) -> None:
        """Copy the state now; serialise and store it in the background."""
        start = self.clock()
        state = copy()
        self._last = self.clock()
        self.cost.copied(self._last - start)
        self._pending = self._thread.submit(self._write, state)

    def save_now(self, state: State) -> None:
        """Store it before going on: the worker is about to leave."""
        if state.step > 0:
            self._write(state)

    def _write(self, state: State) -> None:
        try:
            self.context.checkpoints.save(Checkpoint(state.step, state.to_bytes()))
        except Exception as error:
            log.warning("checkpoint_not_saved", extra={"step": state.step, "error": str(error)})
        else:
            self.context.checkpoint_saved(state.step)
        finally:
            self._busy_until = self.clock()

    def close(self) -> None:
        self._thread.shutdown(wait=True)
