"""A process in virtual time: stopped and continued, out of reach of the broker or of the store, dead."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.sim.loop import Loop


class Life:
    """While it is stopped nothing happens; then what is due does, in its order. Nothing happens once it is dead."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.alive = True
        self.resumes_at = self.reached_at = self.store_at = 0.0

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.loop.at(self.loop.now + seconds, partial(self._do, act))

    def _do(self, act: Callable[[], None]) -> None:
        if self.alive and self.loop.now < self.resumes_at:
            self.loop.at(self.resumes_at, partial(self._do, act))
        elif self.alive:
            act()

    def pause(self, seconds: float) -> None:
        self.resumes_at = max(self.resumes_at, self.loop.now + seconds)

    def cut_off(self, seconds: float) -> None:
        self.reached_at = max(self.reached_at, self.loop.now + seconds)

    def lose_store(self, seconds: float) -> None:
        self.store_at = max(self.store_at, self.loop.now + seconds)

    @property
    def has_store(self) -> bool:
        return self.loop.now >= self.store_at

    def die(self) -> None:
        self.alive = False
