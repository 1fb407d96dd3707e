"""Virtual time: callbacks run in the order of their times, and nothing else makes time pass."""

from __future__ import annotations

import heapq
from collections.abc import Callable

START = 1_000_000.0


class Loop:
    """`now` is seconds. Callbacks due at one time run in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = START
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0

    def at(self, time: float, act: Callable[[], None]) -> None:
        self._asked += 1
        heapq.heappush(self._due, (time if time > self.now else self.now, self._asked, act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.now + seconds, act)

    def run_until(self, time: float) -> None:
        """Callbacks one after the other, to the first that is due at that time or later."""
        while self.now < time:
            self.now, _, act = heapq.heappop(self._due)
            act()

    def step(self) -> None:
        """Run the next callback."""
        self.now, _, act = heapq.heappop(self._due)
        act()
