"""A stage where everything fails for a while, on the real line: its breaker opens, the backlog waits, no job fails."""

from __future__ import annotations

import signal
from contextlib import suppress
from urllib.request import urlopen

import psutil
import pytest

from schemas.events.completions import JobCompleted
from schemas.events.progress import StepProgress
from schemas.stage import Stage
from streams.kafka.topics import PROGRESS
from tests.chaos.victims import compute_children
from tests.e2e.conftest import Line
from tests.processes import Tail, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

OPEN = 'latentline_stage_breaker_open{stage="denoise"} 1.0'


def is_open(line: Line) -> bool:
    with urlopen(line.services["coordinator"].url("/metrics"), timeout=5) as answer:
        return OPEN in answer.read().decode()


@pytest.mark.parametrize(("count", "steps"), [(7, 60), pytest.param(7, 200, marks=pytest.mark.long)])
def test_a_stage_that_fails_whatever_it_is_given_costs_no_job(line_of_all: Line, count: int, steps: int) -> None:
    """As with a driver that is gone: each compute child dies in native code of the denoise that it begins.

    Seven jobs: after twenty that went well, eleven must fail before most have, and nobody may fail for the third time.
    """
    line = line_of_all
    jobs = [line.upstream.submit(num_inference_steps=steps, seed=9100 + number) for number in range(count)]
    struck: set[int] = set()
    with tail(line.settings, PROGRESS) as progress:

        def strike() -> None:
            for lease in leases_at_work(progress, jobs) - struck:
                struck.add(lease)
                kill_compute_child(line)

        def opened() -> bool:
            strike()
            return is_open(line)

        def failed_probes() -> bool:
            strike()
            return len(struck) > before + 1

        eventually(opened, 120)
        before = len(struck)
        eventually(failed_probes, 60)
    ends = line.wait_for(*jobs, seconds=120)
    assert {type(end) for end in ends.values()} == {JobCompleted}
    eventually(lambda: not is_open(line))
    why = [past.error.message for state in map(line.state, jobs) if state for past in state.attempts if past.error]
    assert len(why) >= before
    assert all("SIGSEGV" in message for message in why)


def leases_at_work(progress: Tail, jobs: list[str]) -> set[int]:
    """Of denoises that have done a step: a child that is still starting has begun nothing, and would fail nothing."""
    told = [event for event in progress.events() if isinstance(event, StepProgress) and event.job in jobs]
    return {event.lease for event in told if event.stage is Stage.DENOISE}


def kill_compute_child(line: Line) -> None:
    popen = line.services["denoise"].popen
    assert popen is not None
    with suppress(psutil.NoSuchProcess):
        for child in compute_children(psutil.Process(popen.pid)):
            child.send_signal(signal.SIGSEGV)
