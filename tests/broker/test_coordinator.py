"""The coordinator on the real broker: one transaction a turn, one writer a cell, poison found, one completion a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.bundle import read_bundles
from schemas.events import Completion, JobCompleted, JobFailed
from schemas.job import JobState, JobStatus
from streams import clients
from streams.coordinator import core
from streams.coordinator.policy import Policy
from streams.coordinator.service.main import Coordinator
from streams.settings import Settings
from streams.topics import COMPLETIONS, DLQ, JOBS, PROMPTS, REPORTS
from streams.transactions import Lost
from tests.broker.workers import PlayedWorker
from tests.processes import QUICK, Service, Tail, Upstream, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def quick(line: Settings) -> Settings:
    return line.model_copy(update=QUICK | {"bundles": str(PROJECT / "bundles" / "tiny")})


@pytest.fixture
def upstream(quick: Settings) -> Upstream:
    return Upstream(quick)


@pytest.fixture
def worker(quick: Settings) -> Iterator[PlayedWorker]:
    worker = PlayedWorker(quick)
    yield worker
    worker.close()


@pytest.fixture
def completions(quick: Settings) -> Iterator[Tail]:
    with tail(quick, COMPLETIONS) as completions:
        yield completions


@pytest.fixture
def jobs(quick: Settings) -> Iterator[Tail]:
    with tail(quick, JOBS) as jobs:
        yield jobs


@contextmanager
def coordinating(settings: Settings) -> Iterator[Coordinator]:
    """The real service in a thread of this process, so that a fault can be put between it and its client."""
    policy = Policy.of(settings, read_bundles(settings.bundles), "in-process")
    coordinator = Coordinator(settings, policy)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            coordinator.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="coordinator")
    thread.start()
    coordinator.failures = failures  # type: ignore[attr-defined]
    try:
        eventually(lambda: coordinator.cells or failures)
        yield coordinator
    finally:
        coordinator.stop()
        thread.join(60)
        coordinator.close()


def one_end(completions: Tail, job: str) -> Completion:
    ends = [event for event in completions.events() if isinstance(event, Completion) and event.job == job]
    assert len(ends) <= 1
    return ends[0] if ends else None  # type: ignore[return-value]


def finish(worker: PlayedWorker, completions: Tail, job: str) -> Completion:
    def ended() -> Completion:
        worker.work()
        return one_end(completions, job)

    return eventually(ended, 60)


def test_a_job_ends_once_and_offsets_move_with_its_results(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    with coordinating(quick) as coordinator:
        job = upstream.submit()
        assert isinstance(finish(worker, completions, job), JobCompleted)
        offsets = coordinator.group.committed([TopicPartition(PROMPTS.named(quick.topic_prefix), 0)], timeout=30)
        assert offsets[0].offset == 1
    with coordinating(quick):
        second = upstream.submit()
        assert isinstance(finish(worker, completions, second), JobCompleted)
    assert isinstance(one_end(completions, job), JobCompleted)


def test_nothing_is_placed_before_heartbeats_of_its_own_time_have_been_read(
    quick: Settings, upstream: Upstream, worker: PlayedWorker
) -> None:
    worker.beat()
    upstream.submit()
    with coordinating(quick) as coordinator:
        [cell] = coordinator.cells.values()
        assert cell.ledger.is_held
        assert worker.tasks() == []
        eventually(worker.tasks)
        assert not cell.ledger.is_held


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
        failures: list[BaseException] = coordinator.failures  # type: ignore[attr-defined]
        eventually(lambda: failures)
        assert isinstance(failures[0], Lost)


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
        failures: list[BaseException] = coordinator.failures  # type: ignore[attr-defined]
        eventually(lambda: failures)
        assert isinstance(failures[0], Lost)
        assert stuck.aborts == 0


def test_a_newer_coordinator_fences_the_older(quick: Settings, upstream: Upstream) -> None:
    with coordinating(quick) as coordinator:
        name = f"{quick.topic_prefix}latentline.cell-0"
        newer = clients.producer(clients.TRANSACTIONAL, quick, transactional_id=name)
        newer.init_transactions(30)
        failures: list[BaseException] = coordinator.failures  # type: ignore[attr-defined]
        upstream.submit()
        eventually(lambda: failures)
        assert isinstance(failures[0], Lost | clients.FatalClientError)


def test_a_poison_event_is_found_in_its_batch_and_the_others_are_served(
    quick: Settings, upstream: Upstream, jobs: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = core.take

    def poisoned(ledger: Any, policy: Any, record: core.Record, now: float) -> Any:
        if b"poison" in (record.value or b""):
            raise ZeroDivisionError("poison")
        return take(ledger, policy, record, now)

    monkeypatch.setattr(core, "take", poisoned)
    prompts = ["a red square moving left on a blue background"] * 5
    ids = [upstream.submit(prompt) for prompt in [*prompts[:2], "a poison prompt", *prompts[2:]]]
    with coordinating(quick), tail(quick, DLQ) as letters:
        eventually(lambda: len(states_of(jobs.events())) == 5)
        assert states_of(jobs.events()).keys() == {*ids} - {ids[2]}
        [(_, value, headers)] = eventually(letters.poll)
        assert b"a poison prompt" in (value or b"")
        assert dict(headers)["dlq_reason"] == b"poison_event"
        assert dict(headers)["dlq_origin"] == b"prompts/0/2"


def test_an_outcome_that_cannot_be_read_fails_its_lease(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, jobs: Tail
) -> None:
    with coordinating(quick):
        job = upstream.submit()
        [task] = eventually(worker.tasks)
        worker.start(task)
        headers = [("ce_id", b"1"), ("ce_type", b"latentline.done.v9"), ("ce_lease", str(task.lease).encode()),
                   ("ce_job", job.encode()), ("ce_incarnation", worker.incarnation.encode())]  # fmt: skip
        worker.ended.add(task.lease)
        worker.say_raw(b"{}", headers, worker.incarnation)
        eventually(lambda: states_of(jobs.events())[job].attempts)
        state = states_of(jobs.events())[job]
        assert state.attempts[0].outcome == "failed"
        assert state.attempts[0].error is not None
        assert state.attempts[0].error.code == "unreadable_outcome"
        assert state.status is not JobStatus.FAILED


def test_a_silent_worker_loses_its_lease_to_another(quick: Settings, upstream: Upstream, completions: Tail) -> None:
    silent, heard = PlayedWorker(quick, "silent"), PlayedWorker(quick, "heard", slots=0)
    with coordinating(quick):
        job = upstream.submit()
        [task] = eventually(silent.tasks)
        silent.start(task)
        heard.slots = 4
        assert isinstance(finish(heard, completions, job), JobCompleted)
        silent.finish(task)
        assert isinstance(one_end(completions, job), JobCompleted)
    silent.close()
    heard.close()


def test_a_standby_takes_over_from_a_killed_coordinator(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    first = Service(quick, "coordinator", "coordinator").start().wait_ready()
    standby = Service(quick, "standby", "coordinator").start().wait_ready()
    job = upstream.submit()
    [task] = eventually(worker.tasks, 60)
    worker.start(task)
    first.kill()
    worker.finish(task)
    assert isinstance(finish(worker, completions, job), JobCompleted)
    late = upstream.submit()
    assert isinstance(finish(worker, completions, late), JobCompleted)
    standby.send_signal(15)
    assert standby.wait() == 0


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
    active, standby = (Service(settings, name, "coordinator").start() for name in ("one", "two"))
    load = Load(settings, completions)
    active.wait_ready()
    standby.wait_ready()
    load.more(20)
    restarts = []
    for _ in range(2):
        restarts.append(time.time())
        active.send_signal(15)
        load.more(20)
        assert active.wait() == 0
        active.start()
        load.until(partial(ready, active))
        load.more(10)
        active, standby = standby, active
    load.finish()
    pauses = [pause_at(moment, jobs) for moment in restarts]
    with capsys.disabled():
        print(f"\nthe line paused for {' and '.join(f'{pause:.2f} s' for pause in pauses)}")
    assert sorted(load.ended()) == sorted(load.submitted)
    for state in states_of(jobs.events()).values():
        assert [record.dispatches for record in state.stages.values()] == [1, 1, 1, 1]
    assert max(pauses) < 5.0
    for service in (active, standby):
        service.kill()
    load.worker.close()


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


def test_a_replayed_partition_changes_nothing(
    quick: Settings, upstream: Upstream, worker: PlayedWorker, completions: Tail
) -> None:
    """Committed offsets are lost: every prompt comes again, and stubs make each a no-op."""
    with coordinating(quick):
        job = upstream.submit()
        assert isinstance(finish(worker, completions, job), JobCompleted)
    topics = (PROMPTS, REPORTS)
    reset = clients.consumer(clients.TOOL, quick, group_id=f"{quick.topic_prefix}latentline.coordinator")
    reset.commit(
        offsets=[TopicPartition(topic.named(quick.topic_prefix), 0, 0) for topic in topics], asynchronous=False
    )
    reset.close()
    with coordinating(quick):
        second = upstream.submit()
        assert isinstance(finish(worker, completions, second), JobCompleted)
    assert isinstance(one_end(completions, job), JobCompleted)
    assert not [event for event in completions.events() if isinstance(event, JobFailed)]
