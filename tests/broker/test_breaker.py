"""A tenant whose jobs all fail opens a stage's breaker on the real broker, and nobody else waits for it."""

from __future__ import annotations

import pytest

from runtime.settings import Settings
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.completions import JobCompleted, JobFailed
from schemas.events.reports import Failed
from schemas.events.tasks import Task
from schemas.stage import Stage
from streams.coordinator.core.state.breaker import LEAST_FAILURES
from tests.broker.coordinating import coordinating, finish, one_end
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, Upstream
from tests.support import eventually

pytestmark = pytest.mark.broker


def fail(worker: PlayedWorker, task: Task) -> None:
    worker.start(task)
    error = ErrorReport(kind=ErrorKind.BUG, code="internal_error", message="an impossible size")
    worker.say(Failed(**worker.fields(task), error=error, seconds=0.1))
    worker.ended.add(task.lease)


def test_nobody_waits_for_what_another_tenants_jobs_do(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    worker.slots = 2 * LEAST_FAILURES

    def at_work(tenant: str) -> list[Task]:
        return [task for task in worker.tasks() if task.tenant == tenant and task.lease not in worker.ended]

    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()

        def is_open() -> bool:
            found = cell.ledger.breakers.get(Stage.ENCODE)
            return found is not None and found.is_open

        bad = [upstream.submit(tenant="mallory") for _ in range(LEAST_FAILURES)]
        for task in eventually(lambda: tasks if len(tasks := at_work("mallory")) == LEAST_FAILURES else None):
            fail(worker, task)
        eventually(is_open)
        [held] = eventually(lambda: at_work("mallory"))
        good = [upstream.submit(tenant="alice") for _ in range(2)]
        [first] = eventually(lambda: at_work("alice"))
        assert is_open()
        assert held.lease not in worker.ended
        worker.start(first)
        worker.finish(first)
        eventually(lambda: {task.job for task in at_work("alice")} == {*good})
        assert not is_open()

        def all_failed() -> bool:
            for task in at_work("mallory"):
                fail(worker, task)
            return all(isinstance(one_end(completions, job), JobFailed) for job in bad)

        # What failed while others did not costs these jobs their attempts, and opens nothing.
        eventually(all_failed, 60)
        assert not is_open()
        for job in good:
            assert isinstance(finish(worker, completions, job), JobCompleted)
