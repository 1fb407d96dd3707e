"""The coordinator's clock: a tick a second, which says when the coordinator itself was away."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.events.reports import Tick

INTERVAL_S = 1.0
LONGEST_GAP_S = 3.0
"""A tick later than this means that we were stopped, starved or cut off: then nobody else is judged late."""


class Ticker:
    """Gives the tick that is due. A tick counts once it is `sent`, that is, committed."""

    def __init__(self, cell: int, coordinator: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.cell, self.coordinator, self._clock = cell, coordinator, clock
        self._last: float | None = None
        self._number = 0
        self._gap = True

    def due(self) -> Tick | None:
        now = self._clock()
        if self._last is not None and now - self._last < INTERVAL_S:
            return None
        gap = self._gap or self._last is None or now - self._last > LONGEST_GAP_S
        return Tick(cell=self.cell, coordinator=self.coordinator, number=self._number + 1, after_gap=gap)

    def sent(self, tick: Tick) -> None:
        self._last, self._number, self._gap = self._clock(), tick.number, False

    def record_gap(self) -> None:
        """The broker failed us: the next tick starts the grace period over."""
        self._gap = True
