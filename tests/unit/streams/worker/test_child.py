"""A compute child that ends costs what it was at, and nothing else."""

from __future__ import annotations

from schemas.errors import ErrorKind, ErrorReport
from schemas.events.reports import Failed
from streams.worker.compute.messages import FailedWith, Logged, Run, Succeeded
from streams.worker.compute.process import ChildExited, ChildMessage
from tests.unit.streams.worker.bench import Bench, result


def test_a_child_that_dies_fails_what_it_was_at_and_nothing_else(bench: Bench) -> None:
    bench.warm()
    bench.running(1, 2)
    bench.hear(Logged("info torch: about to"))
    bench.worker._handle(ChildExited(1, "ended by SIGSEGV"))
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
    bench.worker._handle(ChildExited(1, "ended with exit code 0"))
    assert [outcome.lease for outcome in bench.record.outcomes if isinstance(outcome, Failed)] == [1]
    bench.record.to_child.clear()
    bench.warm()
    assert [message.task.lease for message in bench.record.to_child if isinstance(message, Run)] == [2]


def test_a_late_word_of_an_earlier_child_is_not_heard(bench: Bench) -> None:
    bench.warm()
    bench.running(1)
    bench.worker._handle(ChildExited(1, "ended by SIGKILL"))
    outcomes = len(bench.record.outcomes)
    bench.worker._handle(ChildMessage(1, Succeeded(1, 1.0, result())))
    assert len(bench.record.outcomes) == outcomes
