"""Ended jobs on a real log: of their states the coordinator knows the offsets alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.settings import Settings
from schemas.events.prompts import DeleteRequested, PromptSubmitted
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES
from streams.coordinator.core.state.tombstone import NO_OFFSET
from streams.coordinator.service.cell import DELETES_A_BATCH
from streams.kafka.topics import DLQ
from tests.broker.coordinating import Watched, coordinating, finish
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


def deleted(jobs: Tail, job: str) -> Callable[[], JobState | None]:
    """Its state, once it says that it is."""

    def state() -> JobState | None:
        found = states_of(jobs.events()).get(job)
        return found if found is not None and found.status is JobStatus.DELETED else None

    return state


def test_jobs_of_this_life_and_of_an_earlier_one_are_deleted_with_all_that_their_states_keep(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail, jobs: Tail
) -> None:
    """A delete keeps leases and stage keys, which no tombstone has. The prompt stays a no-op in each life."""
    prompt = PromptSubmitted(prompt="a red square", idempotency_key="earlier")
    with coordinating(quick):
        upstream.send(prompt)
        [task] = eventually(worker.tasks, 60)
        worker.start(task)
        worker.finish(task)
        earlier = task.job
        finish(worker, completions, earlier)
        own = upstream.submit()
        finish(worker, completions, own)
        before = states_of(jobs.events())
        upstream.send(DeleteRequested(job=own))
        gone = eventually(deleted(jobs, own), 30)
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        assert cell.ledger.jobs.base == {}
        assert cell.ledger.ended.keys() == {earlier, own}
        upstream.send(DeleteRequested(job=earlier))
        gone_too = eventually(deleted(jobs, earlier), 30)
        upstream.send(prompt)
        finish(worker, completions, upstream.submit())
        assert cell.ledger.ended[earlier].status is JobStatus.DELETED
    for after in (gone, gone_too):
        assert after.recipe is None
        assert [after.stages[stage].key for stage in STAGES] == [
            before[after.job].stages[stage].key for stage in STAGES
        ]
        assert [past.lease for past in after.attempts] == [past.lease for past in before[after.job].attempts]


def test_where_an_ended_job_stands_is_known_exactly_and_found_without(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail, jobs: Tail
) -> None:
    """A client that had to send a record twice may not know its offset: it is looked for from an earlier one on."""
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        job = upstream.submit()
        finish(worker, completions, job)
        ended = eventually(lambda: cell.ledger.ended.get(job))
        assert ended.offset > 0
        found = cell.archive.state(ended)
        assert found == states_of(jobs.events())[job]
        ended.offset = 0
        assert cell.archive.state(ended) == found
        ended.version += 1
        assert cell.archive.state(ended) is None


def test_a_flood_of_deletes_holds_nobody_up(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail, jobs: Tail
) -> None:
    """They are carried out in portions: reports are read and work is dispatched between these."""
    flood = 5 * DELETES_A_BATCH

    def all_gone(coordinator: Watched) -> bool:
        [cell] = coordinator.cells.values()
        return sum(known.status is JobStatus.DELETED for known in [*cell.ledger.ended.values()]) == flood

    with coordinating(quick) as coordinator, tail(quick, DLQ) as letters:
        [cell] = coordinator.cells.values()
        doomed = [upstream.submit(model="no such model") for _ in range(flood)]
        eventually(lambda: len(cell.ledger.ended) == flood, 60)
        assert all(known.offset > NO_OFFSET for known in cell.ledger.ended.values())
        for job in doomed:
            upstream.send(DeleteRequested(job=job))
        finish(worker, completions, upstream.submit())
        eventually(lambda: all_gone(coordinator), 60)
        assert [value for _, value, _ in letters.poll()] == []
    assert all(states_of(jobs.events())[job].status is JobStatus.DELETED for job in doomed)
