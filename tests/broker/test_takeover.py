"""A coordinator that ends is followed by another."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest

from infra.local.plan import PROJECT
from runtime.settings import Settings
from schemas.events.completions import Completion, JobCompleted
from schemas.job import JobState
from tests.broker.coordinating import finish
from tests.broker.workers import PlayedWorker
from tests.processes import Service, Tail, Upstream, services, states_of
from tests.support import eventually

pytestmark = pytest.mark.broker


def test_a_standby_takes_over_from_a_killed_coordinator(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    with services(quick, first="coordinator") as active, services(quick, standby="coordinator") as standby:
        job = upstream.submit()
        [task] = eventually(worker.tasks, 60)
        worker.start(task)
        active["first"].kill()
        worker.finish(task)
        assert isinstance(finish(worker, completions, job), JobCompleted)
        late = upstream.submit()
        assert isinstance(finish(worker, completions, late), JobCompleted)
        standby["standby"].send_signal(15)
        assert standby["standby"].wait() == 0


class Load:
    """A steady stream of jobs for a worker that does them at once."""

    def __init__(self, settings: Settings, completions: Tail) -> None:
        self.upstream, self.worker, self.completions = Upstream(settings), PlayedWorker(settings), completions
        self.submitted: list[str] = []

    def turn(self) -> bool:
        self.submitted.append(self.upstream.submit())
        self.worker.work()
        return True

    def until(self, reached: Callable[[], object]) -> None:
        eventually(lambda: self.turn() and reached(), 120)

    def more(self, count: int) -> None:
        """Go on until so many more jobs have ended."""
        wanted = len(self.ended()) + count
        self.until(lambda: len(self.ended()) >= wanted)

    def ended(self) -> list[str]:
        return [event.job for event in self.completions.events() if isinstance(event, Completion)]

    def finish(self) -> None:
        def done() -> bool:
            self.worker.work()
            return set(self.ended()) == set(self.submitted)

        eventually(done, 120)


@pytest.mark.long
def test_coordinators_that_are_restarted_under_load_pause_for_less_than_five_seconds(
    line: Settings, completions: Tail, jobs: Tail, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after another, as an upgrade does, at the heartbeats of production."""
    settings = line.model_copy(update={"bundles": str(PROJECT / "bundles" / "tiny")})
    load = Load(settings, completions)
    restarts = []
    with services(settings, active="coordinator") as active, services(settings, standby="coordinator") as standby:
        load.more(20)
        for coordinator in (*active.values(), *standby.values()):
            restarts.append(time.time())
            coordinator.send_signal(15)
            load.more(20)
            assert coordinator.wait() == 0
            coordinator.start()
            load.until(partial(ready, coordinator))
            load.more(10)
        load.finish()
        eventually(lambda: ended_in(jobs) == sorted(load.submitted))
    load.worker.close()
    pauses = [pause_at(moment, jobs) for moment in restarts]
    with capsys.disabled():
        print(f"\nthe line paused for {' and '.join(f'{pause:.2f} s' for pause in pauses)}")
    assert sorted(load.ended()) == sorted(load.submitted)
    for state in states_of(jobs.events()).values():
        assert [record.dispatches for record in state.stages.values()] == [1, 1, 1, 1]
    assert max(pauses) < 5.0


def ended_in(jobs: Tail) -> list[str]:
    """The topics of one transaction become visible one after another."""
    return sorted(job for job, state in states_of(jobs.events()).items() if state.status.ended)


def ready(service: Service) -> bool:
    return service.is_ready


def pause_at(moment: float, jobs: Tail) -> float:
    """The longest time without a dispatch in the half minute that follows, seconds."""
    leases = (event.lease for event in jobs.events() if isinstance(event, JobState))
    times = sorted({lease.dispatched_at for lease in leases if lease is not None})
    return max(later - earlier for earlier, later in pairwise(times) if moment - 1 < later < moment + 30)


def test_it_ends_with_zero_when_told_to(quick: Settings) -> None:
    coordinator = Service(quick, "coordinator", "coordinator").start().wait_ready()
    coordinator.send_signal(15)
    assert coordinator.wait() == 0
