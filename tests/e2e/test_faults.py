"""Faults of what the line stands on, and of its own processes: every job ends once, and nothing is computed twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from infra.local.stack import Stack
from schemas.events import Completion, JobCompleted, StepProgress
from schemas.stage import Stage
from streams.topics import PROGRESS
from tests.e2e.conftest import Line
from tests.processes import tail
from tests.support import eventually

pytestmark = pytest.mark.broker

STEPS = 500
"""Of a denoise that outlasts a restart of the broker."""


@pytest.fixture
def supervised(line_of_all: Line) -> Iterator[Line]:
    """The line under a supervisor, as in production: what ends with an error is started again."""
    yield line_of_all
    line_of_all.keep_running()


def under_way(line: Line, **fields: object) -> str:
    """A job whose denoise has begun."""
    job = line.upstream.submit(num_inference_steps=STEPS, **fields)  # type: ignore[arg-type]
    with tail(line.settings, PROGRESS) as progress:
        eventually(
            lambda: any(
                isinstance(event, StepProgress) and event.job == job and event.stage is Stage.DENOISE
                for event in progress.events()
            ),
            60,
        )
    return job


def end_of(line: Line, job: str, seconds: float = 120) -> Completion:
    def ended() -> bool:
        line.keep_running()
        return bool(line.ends(job))

    eventually(ended, seconds)
    eventually(lambda: (state := line.state(job)) and state.status.ended)
    [end] = line.ends(job)
    return end


def denoise_outcomes(line: Line, job: str) -> list[str]:
    state = eventually(lambda: line.state(job))
    return [attempt.outcome for attempt in state.attempts if attempt.stage is Stage.DENOISE]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_broker_that_restarts_costs_no_step(supervised: Line, stack: Stack, number: int) -> None:
    job = under_way(supervised, seed=20 + number)
    os.kill(stack.status()["pids"]["kafka"], number)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_store_that_restarts_costs_no_step(supervised: Line, stack: Stack, number: int) -> None:
    job = under_way(supervised, seed=40 + number)
    os.kill(stack.status()["pids"]["minio"], number)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


def test_a_killed_coordinator_costs_no_step(supervised: Line) -> None:
    job = under_way(supervised, seed=60)
    supervised.services["coordinator"].kill()
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


def test_a_coordinator_that_slept_convicts_nobody(supervised: Line) -> None:
    """Stopped for longer than a worker may be silent, but not for as long as its session lasts."""
    job = under_way(supervised, seed=61)
    coordinator = supervised.services["coordinator"]
    coordinator.send_signal(signal.SIGSTOP)
    with tail(supervised.settings, PROGRESS) as progress:
        seen = len(progress.events())
        eventually(lambda: len(progress.events()) > seen + 150, 60)
    coordinator.send_signal(signal.SIGCONT)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


def test_a_worker_that_slept_gives_no_second_result(supervised: Line) -> None:
    """Its lease is lost and taken back, or its late result is taken, or dropped: the job ends once."""
    job = under_way(supervised, seed=62)
    denoise = supervised.services["denoise"]
    denoise.send_signal(signal.SIGSTOP)
    eventually(lambda: denoise_outcomes(supervised, job) == ["lost"], 60)
    denoise.send_signal(signal.SIGCONT)
    assert isinstance(end_of(supervised, job), JobCompleted)
