"""Faults of what the line stands on, and of its own processes: every job ends once, and nothing is computed twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from infra.local.stack import Stack
from latentline import line as command_line
from operations.audit.run import audit
from schemas.events.completions import Completion, JobCompleted
from schemas.events.progress import StepProgress
from schemas.events.reports import Heartbeat, HeldLease, HeldState
from schemas.stage import Stage
from streams.kafka.topics import PROGRESS, REPORTS
from tests.e2e.conftest import Line
from tests.e2e.latents import denoised
from tests.processes import Tail, tail
from tests.support import OUTAGE_S, eventually

pytestmark = pytest.mark.broker

STEPS = 500
"""Of a denoise that outlasts a restart of the broker."""


long = pytest.mark.long
ends_of_a_server = pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=long)])


@pytest.fixture
def supervised(line_of_all: Line) -> Iterator[Line]:
    """The line under a supervisor, as in production: what ends with an error is started again."""
    yield line_of_all
    store = line_of_all.store
    store.away, store.delay, store.refusals, store.cuts = False, 0.0, 0, 0
    line_of_all.keep_running()


def under_way(line: Line, steps: int = STEPS, **fields: object) -> str:
    """A job whose denoise has begun."""
    job = line.upstream.submit(num_inference_steps=steps, **fields)  # type: ignore[arg-type]
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


@ends_of_a_server
def test_a_broker_that_restarts_costs_no_step(supervised: Line, stack: Stack, number: int) -> None:
    job = under_way(supervised, seed=20 + number)
    os.kill(stack.status()["pids"]["kafka"], number)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


@ends_of_a_server
def test_a_store_that_restarts_costs_no_step(supervised: Line, stack: Stack, number: int) -> None:
    job = under_way(supervised, steps=250, seed=40 + number)
    os.kill(stack.status()["pids"]["minio"], number)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


@pytest.mark.parametrize("outage_s", [OUTAGE_S, pytest.param(60.0, marks=long)])
def test_a_broker_that_is_away_costs_no_step(supervised: Line, stack: Stack, outage_s: float) -> None:
    job = under_way(supervised, steps=300, seed=78 + int(outage_s))
    kafka = stack.status()["pids"]["kafka"]
    os.kill(kafka, signal.SIGSTOP)
    try:
        lasts(outage_s)
    finally:
        os.kill(kafka, signal.SIGCONT)
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


def test_a_coordinator_and_a_worker_killed_at_once_cost_what_followed_the_last_checkpoint(supervised: Line) -> None:
    job = supervised.upstream.submit(num_inference_steps=300, seed=63)
    with tail(supervised.settings, PROGRESS) as progress:
        eventually(lambda: max(denoised(progress, job), default=0) >= 150, 60)
        both = [supervised.services[name] for name in ("coordinator", "denoise")]
        for service in both:
            service.send_signal(signal.SIGKILL)
        for service in both:
            service.wait()
        assert isinstance(end_of(supervised, job), JobCompleted)
        told = denoised(progress, job)
    state = eventually(lambda: supervised.state(job))
    resumed_from = state.stages[Stage.DENOISE].resumed_from_step or 0
    assert denoise_outcomes(supervised, job) == ["lost", "done"]
    assert resumed_from > 0
    assert [step for step in told if step <= resumed_from and told.count(step) > 1] == []


# -- the store is away, or worse -----------------------------------------------------------------------------------


def lasts(seconds: float) -> None:
    """The length of an outage is what the test is about."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end, seconds + 5, interval=0.1)


def parked(reports: Tail, job: str) -> list[HeldLease]:
    """What heartbeats have listed of a job as finished work that waits for the store."""
    beats = [event for event in reports.events() if isinstance(event, Heartbeat)]
    return [held for beat in beats for held in beat.leases if held.job == job and held.state is HeldState.PARKED]


def unready(reports: Tail, worker: str) -> bool:
    """Whether a worker has said that it offers nothing, since the store is away."""
    beats = [event for event in reports.events() if isinstance(event, Heartbeat) and event.worker == worker]
    return any(beat.condition == "store_unreachable" and beat.slots == 0 for beat in beats)


def assert_no_step_twice(progress: Tail, job: str) -> None:
    told = denoised(progress, job)
    assert len(told) == len(set(told)), "a step was computed twice"


def test_a_denoise_that_ends_while_the_store_is_away_is_not_done_again(supervised: Line) -> None:
    with tail(supervised.settings, REPORTS) as reports:
        job = under_way(supervised, steps=300, seed=70)
        supervised.store.away = True
        eventually(lambda: parked(reports, job), 60)
        eventually(lambda: unready(reports, "denoise"), 30)
    supervised.store.away = False
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]
    after = end_of(supervised, supervised.upstream.submit(seed=79))
    assert isinstance(after, JobCompleted)
    assert {stage.attempts for stage in after.stages} == {1}, "a child still took the store for away"


@long
def test_a_store_away_for_a_minute_costs_no_step(supervised: Line) -> None:
    """One job is under way, the other one about to begin: it fails for want of its inputs, which costs no attempt."""
    with tail(supervised.settings, PROGRESS) as progress:
        first, second = under_way(supervised, seed=71), supervised.upstream.submit(num_inference_steps=STEPS, seed=72)
        supervised.store.away = True
        lasts(60)
        supervised.store.away = False
        for job in (first, second):
            assert isinstance(end_of(supervised, job), JobCompleted)
            assert_no_step_twice(progress, job)
    assert denoise_outcomes(supervised, first) == ["done"]
    assert denoise_outcomes(supervised, second)[-1] == "done"
    state = supervised.state(second)
    assert state is not None
    assert all(record.failures == 0 for record in state.stages.values())


@long
def test_parked_work_is_inherited_by_the_next_life_of_its_worker(supervised: Line) -> None:
    with tail(supervised.settings, REPORTS) as reports, tail(supervised.settings, PROGRESS) as progress:
        job = under_way(supervised, steps=300, seed=73)
        supervised.store.away = True
        eventually(lambda: parked(reports, job), 60)
        supervised.services["denoise"].kill()
        supervised.revive("denoise")
        before = len(parked(reports, job))
        eventually(lambda: len(parked(reports, job)) > before, 60)
        supervised.store.away = False
        assert isinstance(end_of(supervised, job), JobCompleted)
        assert_no_step_twice(progress, job)
    assert denoise_outcomes(supervised, job)[-1] == "done"


def test_a_store_that_is_ten_times_slower_costs_no_attempt(supervised: Line) -> None:
    supervised.store.delay = 0.05
    job = supervised.upstream.submit(num_inference_steps=100, seed=74)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


@pytest.mark.parametrize("bursts", [2, pytest.param(8, marks=long)])
def test_bursts_of_refusals_cost_no_step(supervised: Line, bursts: int) -> None:
    job = under_way(supervised, steps=125 * bursts, seed=500 + bursts)
    for number in range(bursts):
        supervised.store.status = (500, 503)[number % 2]
        supervised.store.refusals = 6
        eventually(lambda: supervised.store.refusals == 0)
    assert isinstance(end_of(supervised, job), JobCompleted)
    assert denoise_outcomes(supervised, job) == ["done"]


def test_uploads_that_are_cut_off_leave_no_half_object(supervised: Line) -> None:
    job = under_way(supervised, steps=250, seed=77)
    supervised.store.cuts, supervised.store.cut_after = 8, 300
    end = end_of(supervised, job)
    assert isinstance(end, JobCompleted)
    assert supervised.store.cuts == 0
    assert denoise_outcomes(supervised, job) == ["done"]
    assert audit(supervised.settings, command_line.store(supervised.settings)).violations == ()
