"""A real coordinator whose wall clock jumps by an hour: nobody is convicted, no retry waits for it."""

from __future__ import annotations

import time

import pytest

from runtime.settings import Settings
from schemas.errors import StoreUnavailable
from schemas.events.completions import JobCompleted
from schemas.events.reports import Failed
from schemas.events.tasks import Task
from schemas.job import JobState
from schemas.stage import STAGES, Stage
from streams.kafka.topics import COMPLETIONS, JOBS
from tests.broker.coordinating import one_end
from tests.broker.workers import PlayedWorker
from tests.jumping import AHEAD, BACK, HOUR
from tests.processes import Service, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


class Hesitant(PlayedWorker):
    """Keeps the task that it has begun, and has no store for the next ones until it is told otherwise."""

    def begin(self, job: str) -> None:
        self.start(eventually(lambda: self.open_task(job)))

    def fail(self, job: str) -> None:
        task = eventually(lambda: self.open_task(job))
        self.start(task)
        error = StoreUnavailable("the store is away").report()
        self.say(Failed.model_validate(self.fields(task) | {"error": error, "seconds": 0.5}))
        self.ended.add(task.lease)

    def open_task(self, job: str) -> Task | None:
        return next((task for task in self.tasks() if task.job == job and task.lease not in self.ended), None)


def test_an_hour_ahead_and_back_costs_no_work_and_no_time(quick: Settings) -> None:
    coordinator, worker = Service(quick, "coordinator", "coordinator", module="tests.jumping"), Hesitant(quick)
    with tail(quick, COMPLETIONS) as completions, tail(quick, JOBS) as jobs:
        coordinator.start().wait_ready()
        try:
            upstream = Upstream(quick)
            held, retried = upstream.submit(seed=1), upstream.submit(seed=2)

            def has_failed(times: int) -> bool:
                worker.beat()
                return len(states_of(jobs.events())[retried].attempts) == times

            worker.begin(held)
            worker.fail(retried)
            eventually(lambda: has_failed(1))
            coordinator.send_signal(AHEAD)
            worker.fail(retried)
            eventually(lambda: has_failed(2))
            # Now it waits for a moment that is an hour away by a clock that has been set back.
            coordinator.send_signal(BACK)
            eventually(lambda: worker.open_task(retried), 10)

            def ended() -> bool:
                worker.work()
                return all(one_end(completions, job) for job in (held, retried))

            eventually(ended, 60)
            assert {type(one_end(completions, job)) for job in (held, retried)} == {JobCompleted}
        finally:
            coordinator.kill()
            worker.close()
        eventually(lambda: all(state.status.ended for state in states_of(jobs.events()).values()))
        told = states_of(jobs.events())
    assert outcomes(told[held]) == ["done"] * len(STAGES)
    assert outcomes(told[retried]) == ["failed", "failed", *["done"] * len(STAGES)]
    [_, ahead, *_] = told[retried].attempts
    assert ahead.stage is Stage.ENCODE
    assert ahead.dispatched_at > time.time() + HOUR / 2


def outcomes(state: JobState) -> list[str]:
    return [attempt.outcome for attempt in state.attempts]
