"""A turn of the coordinator is one transaction, whatever becomes of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from runtime.settings import Settings
from schemas.events.completions import JobCompleted
from schemas.job import JobState
from streams.kafka import clients
from streams.kafka.transactions import ResultUnknown
from tests.broker.coordinating import coordinating, finish
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, Upstream
from tests.support import eventually

pytestmark = pytest.mark.broker


def test_an_aborted_transaction_leaves_no_trace_and_is_done_again(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail, jobs: Tail
) -> None:
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        real = cell.transactions.producer
        cell.transactions.producer = FailingCommits(real, failures=3)  # type: ignore[assignment]
        job = upstream.submit()
        end = finish(worker, completions, job)
        assert isinstance(end, JobCompleted)
        # A dispatch that only memory knew of would have been a lease that nobody reads.
        assert [stage.attempts for stage in end.stages] == [1, 1, 1, 1]
        versions = [state.version for state in jobs.events() if isinstance(state, JobState) and state.job == job]
        assert versions == sorted(set(versions))
        assert cell.transactions.producer.failures == 0  # type: ignore[attr-defined]


class FailingCommits:
    """The real producer. The first transactions that hold a task fail so that they must be aborted."""

    def __init__(self, producer: Any, failures: int) -> None:
        self._producer, self.failures = producer, failures
        self._holds_task = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def produce(self, topic: str, *record: Any, **fields: Any) -> None:
        self._holds_task |= "tasks." in topic
        self._producer.produce(topic, *record, **fields)

    def commit_transaction(self, timeout: float) -> None:
        fails, self._holds_task = self._holds_task and self.failures > 0, False
        if fails:
            self.failures -= 1
            raise KafkaException(KafkaError(KafkaError._INCONSISTENT, "injected", txn_requires_abort=True))
        self._producer.commit_transaction(timeout)


def test_an_unknown_commit_result_ends_the_process(quick: Settings, upstream: Upstream) -> None:
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        cell.transactions.deadline = 0.0
        cell.transactions.producer = UnknownCommits(cell.transactions.producer)  # type: ignore[assignment]
        upstream.submit()
        eventually(lambda: coordinator.failures)
        assert isinstance(coordinator.failures[0], ResultUnknown)


class UnknownCommits(FailingCommits):
    def __init__(self, producer: Any) -> None:
        super().__init__(producer, 0)

    def commit_transaction(self, timeout: float) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "injected", retriable=True))


class StuckOffsets(FailingCommits):
    def __init__(self, producer: Any) -> None:
        super().__init__(producer, 0)
        self.aborts = 0

    def send_offsets_to_transaction(self, *arguments: object) -> None:
        threading.Event().wait()

    def abort_transaction(self, timeout: float) -> None:
        """librdkafka's answer while another call is under way, at once and each time."""
        self.aborts += 1
        raise KafkaException(KafkaError(KafkaError._CONFLICT, "injected", retriable=True))


def test_a_call_that_never_returns_ends_the_process(quick: Settings, upstream: Upstream) -> None:
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        cell.transactions.stuck_after = -4.5
        stuck = StuckOffsets(cell.transactions.producer)
        cell.transactions.producer = stuck  # type: ignore[assignment]
        upstream.submit()
        eventually(lambda: coordinator.failures)
        assert isinstance(coordinator.failures[0], ResultUnknown)
        assert stuck.aborts == 0


def test_a_newer_coordinator_fences_the_older(quick: Settings, upstream: Upstream) -> None:
    with coordinating(quick) as coordinator:
        name = f"{quick.topic_prefix}latentline.cell-0"
        newer = clients.producer(clients.TRANSACTIONAL, quick, transactional_id=name)
        newer.init_transactions(30)
        upstream.submit()
        eventually(lambda: coordinator.failures)
        assert isinstance(coordinator.failures[0], ResultUnknown | clients.FatalClientError)
