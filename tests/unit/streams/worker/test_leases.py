"""A lease from its task to its outcome: what the child is told, what is reported, what a heartbeat lists."""

from __future__ import annotations

from schemas.events.reports import Done, Failed, HeldState, Started, TaskCancelled
from schemas.events.tasks import CancelTask
from streams.worker.compute.messages import Checkpointed, Interrupt, Interrupted, Run, Stepped, Succeeded
from streams.worker.loop.reporter import Delivered
from tests.unit.streams.worker.bench import Bench, result, task_of


def test_the_child_gets_a_task_only_when_its_started_is_delivered(bench: Bench) -> None:
    bench.warm()
    bench.task(1)
    assert [type(outcome) for outcome in bench.record.outcomes] == [Started]
    assert bench.record.to_child == []
    bench.worker._handle(Delivered(1, started=True))
    assert [type(message) for message in bench.record.to_child] == [Run]


def test_a_task_waits_for_a_warm_child(bench: Bench) -> None:
    bench.running(1)
    assert bench.record.to_child == []
    bench.warm()
    assert [type(message) for message in bench.record.to_child] == [Run]


def test_what_is_addressed_to_others_is_skipped(bench: Bench) -> None:
    bench.task(1, incarnation="somebody else")
    assert bench.record.outcomes == []
    assert len(bench.worker.leases.held) == 0


def test_a_task_that_cannot_be_read_is_failed_by_its_headers(bench: Bench) -> None:
    bench.read(task_of(7, bench.worker.incarnation), b'{"from":"a newer release"}')
    failed = bench.last()
    assert isinstance(failed, Failed)
    assert (failed.lease, failed.job, failed.error.code) == (7, "job-7", "unreadable_task")


def test_a_lease_is_listed_until_its_outcome_is_delivered(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.hear(Stepped(1, 3, 12, 0.1))
    bench.hear(Checkpointed(1, 2))
    [held] = bench.worker.leases.held.listed()
    assert (held.state, held.step, held.checkpoint_step) == (HeldState.RUNNING, 3, 2)
    bench.hear(Succeeded(1, 1.0, result()))
    assert isinstance(bench.last(), Done)
    assert [held.state for held in bench.worker.leases.held.listed()] == [HeldState.ENDING]
    bench.worker._handle(Delivered(1, started=False))
    assert bench.worker.leases.held.listed() == ()


def test_a_cancel_before_the_child_has_it_ends_it_at_once(bench: Bench) -> None:
    bench.warm()
    bench.task(1)
    bench.read(CancelTask(incarnation=bench.worker.incarnation, lease=1, reason="asked"))
    bench.worker._handle(Delivered(1, started=True))
    assert isinstance(bench.last(), TaskCancelled)
    assert bench.record.to_child == []


def test_a_cancel_of_a_running_task_goes_to_the_child_once(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    for _ in range(2):
        bench.read(CancelTask(incarnation=bench.worker.incarnation, lease=1, reason="asked"))
    assert bench.record.to_child[1:] == [Interrupt(1, "cancel")]
    bench.hear(Interrupted(1, 0.5, "cancel"))
    assert isinstance(bench.last(), TaskCancelled)
