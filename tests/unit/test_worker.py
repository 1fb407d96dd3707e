"""The stream process's decisions, an event at a time: what the child is told, what is reported, what a beat lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from schemas import envelope
from schemas.errors import ErrorKind, ErrorReport
from schemas.events import (
    ArtifactRef,
    CancelTask,
    Done,
    Drain,
    Failed,
    Heartbeat,
    HeldState,
    Outcome,
    Preempted,
    Started,
    Task,
    TaskCancelled,
)
from schemas.stage import Stage
from stages.execute import Result
from stages.spool import Entry
from streams.addressing import address_of, extensions_of
from streams.clients import FatalClientError
from streams.settings import Settings
from streams.worker.compute import ChildGone, Said
from streams.worker.inbox import InboxBroken, Letter
from streams.worker.leases import Leases
from streams.worker.messages import (
    Checkpointed,
    FailedWith,
    FromChild,
    Interrupt,
    Interrupted,
    Logged,
    Parked,
    Run,
    Stepped,
    Succeeded,
    ToChild,
    Warm,
)
from streams.worker.reporter import Delivered, Undeliverable
from streams.worker.uploader import Spoilt, Unparked
from streams.worker.worker import Worker, WorkerBroken
from tests.unit.test_reducers import RECIPE


@dataclass
class Recorder:
    """Stands where compute child, reporter and inboxes stand, and keeps what it is told."""

    generation: int = 1
    pid: int = 0
    to_child: list[ToChild] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    def look(self) -> None:
        pass

    def drop(self, lease: int) -> None:
        self.dropped.append(lease)

    def send(self, message: ToChild) -> None:
        self.to_child.append(message)

    def start(self) -> None:
        self.generation += 1

    def outcome(self, outcome: Outcome, traceparent: str | None) -> None:
        self.outcomes.append(outcome)

    def heartbeat(self, beat: Heartbeat) -> None:
        self.beats.append(beat)

    def progress(self, progress: object) -> None:
        pass

    def listed(self) -> tuple[()]:
        return ()

    def note_read(self, letter: Letter) -> None:
        pass


@dataclass
class Bench:
    worker: Worker
    record: Recorder

    def task(self, lease: int, incarnation: str | None = None) -> Task:
        task = Task(
            incarnation=incarnation or self.worker.incarnation, lease=lease, job=f"job-{lease}", tenant="acme",
            stage=Stage.DENOISE, key="key", recipe=RECIPE, attempt=1,
        )  # fmt: skip
        self.read(task)
        return task

    def read(self, event: Any, value: bytes | None = None) -> None:
        data, headers = envelope.write(event, id="1", source="test", time=0.0, extensions=extensions_of(event))
        self.worker._handle(Letter(Stage.DENOISE, address_of(headers), value or data, headers))

    def running(self, *leases: int) -> None:
        for lease in leases:
            self.task(lease)
            self.worker._handle(Delivered(lease, started=True))

    def hear(self, message: FromChild) -> None:
        self.worker._handle(Said(self.record.generation, message))

    def warm(self) -> None:
        self.hear(Warm(("denoise/tiny",), "cpu"))

    def last(self) -> Outcome:
        return self.record.outcomes[-1]


@pytest.fixture
def bench(tmp_path: Any) -> Bench:
    worker = Worker(Settings(data_dir=tmp_path, worker_name="w", slots=4), (Stage.DENOISE,), ("tiny",))
    record: Any = Recorder()
    worker.compute = worker.reporter = worker.inboxes = record
    worker.leases = Leases(worker.name, worker.incarnation, record, record, record)
    worker.surroundings = SimpleNamespace(condition="ready")  # type: ignore[assignment]
    return Bench(worker, record)


def result() -> Result:
    return Result(ArtifactRef(stage=Stage.DENOISE, key="key", manifest_key="m", etag="e"), (), 1.0, False)


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
    task = Task(
        incarnation=bench.worker.incarnation, lease=7, job="job-7", tenant="acme", stage=Stage.DENOISE, key="key",
        recipe=RECIPE, attempt=1,
    )  # fmt: skip
    bench.read(task, b'{"from":"a newer release"}')
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


def test_a_child_that_dies_fails_what_it_was_at_and_nothing_else(bench: Bench) -> None:
    bench.warm()
    bench.running(1, 2)
    bench.hear(Logged("info torch: about to"))
    bench.worker._handle(ChildGone(1, "ended by SIGSEGV"))
    [failed] = [outcome for outcome in bench.record.outcomes if isinstance(outcome, Failed)]
    assert (failed.lease, failed.error.code, failed.error.kind) == (1, "compute_child_died", ErrorKind.RESOURCE)
    assert "SIGSEGV" in failed.error.message
    assert failed.log_tail == ("info torch: about to", "the compute child was ended by SIGSEGV")
    assert bench.record.beats[-1].slots == 0
    bench.record.to_child.clear()
    bench.warm()
    assert [message.task.lease for message in bench.record.to_child if isinstance(message, Run)] == [2]


def test_out_of_memory_fails_one_job_and_replaces_the_child(bench: Bench) -> None:
    bench.warm()
    bench.running(1, 2)
    error = ErrorReport(kind=ErrorKind.RESOURCE, code="gpu_out_of_memory", message="no room")
    bench.hear(FailedWith(1, 1.0, error))
    bench.worker._handle(ChildGone(1, "ended with exit code 0"))
    assert [outcome.lease for outcome in bench.record.outcomes if isinstance(outcome, Failed)] == [1]
    bench.record.to_child.clear()
    bench.warm()
    assert [message.task.lease for message in bench.record.to_child if isinstance(message, Run)] == [2]


def test_a_late_word_of_an_earlier_child_is_not_heard(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.worker._handle(ChildGone(1, "ended by SIGKILL"))
    outcomes = len(bench.record.outcomes)
    bench.worker._handle(Said(1, Succeeded(1, 1.0, result())))
    assert len(bench.record.outcomes) == outcomes


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
    from streams.worker.messages import Broken

    with pytest.raises(WorkerBroken, match="no such bundle"):
        bench.hear(Broken("no such bundle"))


def entry(task: Task) -> Entry:
    return Entry(task=task, objects=(), facts={}, bit_class="cpu", timings={})


def test_a_result_that_waits_for_the_store_is_listed_as_parked_and_reported_when_it_is_there(bench: Bench) -> None:
    bench.warm()
    bench.running(1, 2)
    bench.hear(Parked(1, 1.0))
    assert [held.state for held in bench.record.beats[-1].leases] == [HeldState.PARKED, HeldState.RUNNING]
    assert not any(isinstance(outcome, Done) for outcome in bench.record.outcomes)
    held = bench.worker.leases.held.get(1)
    assert held is not None
    bench.worker._handle(Unparked(entry(held.task), result()))
    assert isinstance(bench.last(), Done)
    assert bench.record.dropped == []
    bench.worker._handle(Delivered(1, started=False))
    assert bench.record.dropped == [1]


def test_a_parked_result_outlives_the_child_and_goes_with_a_cancel(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.hear(Parked(1, 1.0))
    bench.worker._handle(ChildGone(1, "ended by SIGKILL"))
    assert not any(isinstance(outcome, Failed) for outcome in bench.record.outcomes)
    bench.read(CancelTask(incarnation=bench.worker.incarnation, lease=1, reason="asked"))
    assert isinstance(bench.last(), TaskCancelled)
    bench.worker._handle(Spoilt(1))
    assert isinstance(bench.last(), TaskCancelled)


def test_a_parked_result_that_is_torn_is_given_back(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.hear(Parked(1, 1.0))
    bench.worker._handle(Spoilt(1))
    assert isinstance(bench.last(), Preempted)


def test_what_an_earlier_life_left_is_listed_and_reported_by_this_one(bench: Bench) -> None:
    left = entry(
        Task(incarnation="w.old", lease=9, job="job-9", tenant="acme", stage=Stage.DENOISE, key="key", recipe=RECIPE,
             attempt=1)
    )  # fmt: skip
    bench.worker.leases.adopt(left)
    bench.worker.beat()
    [held] = bench.record.beats[-1].leases
    assert (held.lease, held.state) == (9, HeldState.PARKED)
    bench.worker._handle(Unparked(left, result()))
    done = bench.last()
    assert isinstance(done, Done)
    assert (done.lease, done.incarnation) == (9, bench.worker.incarnation)
