"""The place in the queue of a job that has just come, without counting the whole queue for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.job import JobState

COUNTED_ANEW_AFTER_S = 0.1


@dataclass
class Queues:
    """Counts on from the last count while that is fresh: who asks for the job itself gets its place counted."""

    _counted: dict[int, tuple[float, int]] = field(default_factory=dict)
    """When, and how many came before the last one; by priority."""

    def ahead_of(self, state: JobState, count: Callable[[JobState], int]) -> int:
        """How many come first; `state` is the latest of its priority."""
        at, ahead = self._counted.get(state.priority, (0.0, 0))
        if 0 <= state.accepted_at - at < COUNTED_ANEW_AFTER_S:
            ahead += 1
        else:
            at, ahead = state.accepted_at, count(state)
        self._counted[state.priority] = at, ahead
        return ahead
