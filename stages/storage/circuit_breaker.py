"""A circuit breaker before the store: who has just found it away does not ask again at every turn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from schemas.errors import StoreUnavailable


class Breaker:
    """Closed: each call has all its tries. After one that spent them in vain, calls fail at once for a while (doubled
    each time, with jitter); then the next call is a probe with a single try. Threads may share it."""

    def __init__(
        self, first_rest: float = 0.5, longest_rest: float = 4.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`first_rest`, `longest_rest`: seconds, before jitter of a quarter either way."""
        self._first, self._longest, self._clock = first_rest, longest_rest, clock
        self._rest = self._rests_until = 0.0

    def allow(self, tries: int) -> int:
        """How many tries the next call has. Raises `StoreUnavailable` during a rest."""
        left = self._rests_until - self._clock()
        if left > 0:
            raise StoreUnavailable(f"the store did not answer a moment ago; it is asked again in {left:.1f} s")
        return 1 if self._rest else tries

    def look_again(self) -> None:
        """End the rest: somebody has reason to believe that the store is back. The next call is a probe."""
        self._rests_until = 0.0

    def failed(self) -> None:
        self._rest = min(self._rest * 2 or self._first, self._longest)
        self._rests_until = self._clock() + self._rest * random.uniform(0.75, 1.25)

    def answered(self) -> None:
        self._rest = self._rests_until = 0.0
