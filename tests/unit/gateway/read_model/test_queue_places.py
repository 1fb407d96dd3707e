"""Places of jobs that have just come."""

from __future__ import annotations

from gateway.read_model.queue_places import COUNTED_ANEW_AFTER_S, Queues
from schemas.job import JobState
from tests.unit.gateway.samples import NOW, job


def test_a_queue_is_counted_anew_after_a_while_and_counted_on_between() -> None:
    queues, counted = Queues(), list[float]()

    def count(state: JobState) -> int:
        counted.append(state.accepted_at)
        return 10

    def ahead(seconds: float, priority: int = 0) -> int:
        return queues.ahead_of(job(accepted_at=NOW + seconds, priority=priority), count)

    soon, later = COUNTED_ANEW_AFTER_S / 2, COUNTED_ANEW_AFTER_S * 1.5
    assert [ahead(0.0), ahead(soon), ahead(soon, priority=5), ahead(soon)] == [10, 11, 10, 12]
    assert [ahead(later), ahead(later)] == [10, 11]
    assert counted == [NOW, NOW + soon, NOW + later]
    # A clock that was set back.
    assert [ahead(-1.0), ahead(-1.0)] == [10, 11]
