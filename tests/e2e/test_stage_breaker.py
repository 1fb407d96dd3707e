"""A stage where everything fails for a while, on the real line: its breaker opens, the backlog waits, no job fails."""

from __future__ import annotations

import signal
from contextlib import suppress
from urllib.request import urlopen

import psutil
import pytest

from schemas.events import JobCompleted
from schemas.stage import Stage
from tests.chaos.victims import compute_children
from tests.e2e.conftest import Line
from tests.support import eventually

pytestmark = pytest.mark.broker

OPEN = 'latentline_stage_breaker_open{stage="denoise"} 1.0'


def is_open(line: Line) -> bool:
    with urlopen(line.services["coordinator"].url("/metrics"), timeout=5) as answer:
        return OPEN in answer.read().decode()


@pytest.mark.parametrize(("count", "steps"), [(4, 100), pytest.param(6, 200, marks=pytest.mark.long)])
def test_a_stage_that_fails_whatever_it_is_given_costs_no_job(line_of_all: Line, count: int, steps: int) -> None:
    """As with a driver that is gone: each compute child dies in native code of the denoise that it begins."""
    line = line_of_all
    jobs = [line.upstream.submit(num_inference_steps=steps, seed=9100 + number) for number in range(count)]
    struck: set[int] = set()

    def strike() -> None:
        for state in filter(None, map(line.state, jobs)):
            lease = state.lease
            if lease and lease.stage is Stage.DENOISE and lease.started_at and lease.number not in struck:
                struck.add(lease.number)
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


def kill_compute_child(line: Line) -> None:
    popen = line.services["denoise"].popen
    assert popen is not None
    with suppress(psutil.NoSuchProcess):
        for child in compute_children(psutil.Process(popen.pid)):
            child.send_signal(signal.SIGSEGV)
