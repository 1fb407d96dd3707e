"""How a life of a worker ends."""

from __future__ import annotations

import pytest

from schemas.events.reports import Preempted
from schemas.events.tasks import Drain
from streams.kafka.clients import FatalClientError
from streams.worker.compute.messages import ChildFailed, Interrupt, Stepped
from streams.worker.loop.inbox import InboxBroken
from streams.worker.loop.reporter import Undeliverable
from streams.worker.loop.worker import WorkerBroken
from tests.unit.streams.worker.bench import Bench


def test_a_draining_worker_takes_nothing_and_hands_over_what_does_not_fit(bench: Bench) -> None:
    bench.warm()
    bench.running(1, 2)
    bench.hear(Stepped(1, 1, 100, 60.0))
    bench.hear(Stepped(2, 99, 100, 0.01))
    bench.worker._begin_draining()
    assert bench.record.beats[-1].draining
    bench.task(3)
    assert isinstance(bench.last(), Preempted)
    bench.worker._press_to_leave(bench.worker.draining_until - 10)  # type: ignore[operator]
    assert bench.record.to_child[2:] == [Interrupt(1, "preempt")]
    assert not bench.worker._may_leave()


def test_a_superseded_worker_leaves_at_once(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.read(Drain(incarnation=bench.worker.incarnation, reason="a newer life", at_once=True))
    bench.worker._press_to_leave(bench.worker.draining_until)  # type: ignore[arg-type]
    assert bench.record.to_child[1:] == [Interrupt(1, "preempt")]


@pytest.mark.parametrize("event", [InboxBroken("out of range"), Undeliverable("fatal")])
def test_a_broken_client_ends_this_life(bench: Bench, event: object) -> None:
    with pytest.raises(FatalClientError):
        bench.worker._handle(event)


def test_a_child_that_cannot_load_ends_this_life(bench: Bench) -> None:
    with pytest.raises(WorkerBroken, match="no such bundle"):
        bench.hear(ChildFailed("no such bundle"))
