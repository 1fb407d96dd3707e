"""A result that waits for the store: listed, handed down to the next life, reported once."""

from __future__ import annotations

from schemas.events.reports import Done, Failed, HeldState, Preempted, TaskCancelled
from schemas.events.tasks import CancelTask
from streams.worker.compute.messages import AwaitingUpload
from streams.worker.compute.process import ChildExited
from streams.worker.loop.reporter import Delivered
from streams.worker.loop.uploader import Uploaded, UploadFailed
from tests.unit.streams.worker.bench import Bench, entry, result, task_of


def test_a_result_that_waits_for_the_store_is_listed_as_parked_and_reported_when_it_is_there(bench: Bench) -> None:
    bench.warm()
    bench.running(1, 2)
    bench.hear(AwaitingUpload(1, 1.0))
    assert [held.state for held in bench.record.beats[-1].leases] == [HeldState.PARKED, HeldState.RUNNING]
    assert not any(isinstance(outcome, Done) for outcome in bench.record.outcomes)
    held = bench.worker.leases.held.get(1)
    assert held is not None
    bench.worker._handle(Uploaded(entry(held.task), result()))
    assert isinstance(bench.last(), Done)
    assert bench.record.dropped == []
    bench.worker._handle(Delivered(1, started=False))
    assert bench.record.dropped == [1]


def test_a_parked_result_outlives_the_child_and_goes_with_a_cancel(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.hear(AwaitingUpload(1, 1.0))
    bench.worker._handle(ChildExited(1, "ended by SIGKILL"))
    assert not any(isinstance(outcome, Failed) for outcome in bench.record.outcomes)
    bench.read(CancelTask(incarnation=bench.worker.incarnation, lease=1, reason="asked"))
    assert isinstance(bench.last(), TaskCancelled)
    bench.worker._handle(UploadFailed(1))
    assert isinstance(bench.last(), TaskCancelled)


def test_a_parked_result_that_is_torn_is_given_back(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.hear(AwaitingUpload(1, 1.0))
    bench.worker._handle(UploadFailed(1))
    assert isinstance(bench.last(), Preempted)


def test_what_an_earlier_life_left_is_listed_and_reported_by_this_one(bench: Bench) -> None:
    left = entry(task_of(9, "w.old"))
    bench.worker.leases.adopt(left)
    bench.worker.beat()
    [held] = bench.record.beats[-1].leases
    assert (held.lease, held.state) == (9, HeldState.PARKED)
    bench.worker._handle(Uploaded(left, result()))
    done = bench.last()
    assert isinstance(done, Done)
    assert (done.lease, done.incarnation) == (9, bench.worker.incarnation)
