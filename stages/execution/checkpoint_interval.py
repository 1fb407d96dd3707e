"""How often a run is saved: Young's rule, from what a checkpoint really costs and how often workers are lost."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Self

STEPS_COMPARED = 32


@dataclass(frozen=True)
class IntervalRule:
    """Seconds of work between checkpoints: sqrt(2 x cost x mean time between failures), within bounds.

    It makes least of what is lost on average: the cost of saving once an interval, and half an interval a failure.
    J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974).
    """

    mean_time_between_failures: float = 300.0
    shortest: float = 0.5
    longest: float = 60.0

    @classmethod
    def fixed(cls, seconds: float) -> Self:
        """The same interval whatever a checkpoint costs; `math.inf`: never."""
        return cls(shortest=seconds, longest=seconds)

    def interval(self, cost: float | None) -> float:
        """`cost`: seconds that a checkpoint takes from the work; None before the first, which comes early."""
        if cost is None:
            return self.shortest
        ideal = math.sqrt(2 * cost * self.mean_time_between_failures)
        return min(max(ideal, self.shortest), self.longest)


@dataclass
class CheckpointCost:
    """What checkpoints have taken from the steps of a run: the copies, and how much slower steps are beside a save.

    One step says little, since its length varies by more than a save costs: so it is the sum over all of them that
    counts, against the mean of the latest steps without a save, and no more of it than the saves have lasted.
    """

    _alone: deque[float] = field(default_factory=lambda: deque(maxlen=STEPS_COMPARED))
    _copying: float = 0.0
    _slower: float = 0.0
    _saving: float = 0.0
    _saved: int = 0

    def copied(self, seconds: float) -> None:
        """Between two steps the state was copied: the work stood still."""
        self._copying += seconds
        self._saved += 1

    def stepped(self, seconds: float, beside: float = 0.0) -> None:
        """A step has taken `seconds`, for `beside` of which a save was under way."""
        if beside <= 0:
            self._alone.append(seconds)
        elif self._alone:
            self._slower += seconds - statistics.fmean(self._alone)
            self._saving += beside

    @property
    def seconds(self) -> float | None:
        """Of one checkpoint, on average; None before the first."""
        if not self._saved:
            return None
        return (self._copying + min(max(self._slower, 0.0), self._saving)) / self._saved
