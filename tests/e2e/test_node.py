"""A whole node of workers is gone at once: what it held runs elsewhere within the detection time."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from runtime.settings import Settings
from schemas.events.completions import JobCompleted
from schemas.events.progress import StepProgress
from schemas.job import JobState
from schemas.stage import Stage
from streams.kafka.topics import COMPLETIONS, JOBS, PROGRESS
from tests.processes import QUICK, Service, Tail, Upstream, services, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

NODES = {node: {f"{node}-most": "encode,denoise,decode", f"{node}-mux": "mux"} for node in ("a", "b")}
"""Mux needs no torch, and is there at once."""


@contextmanager
def nodes(settings: Settings) -> Iterator[dict[str, Service]]:
    """Two nodes of two workers each, started at once, all ready; by name."""
    running = {
        name: on_node(node, Service(settings, name, "worker", stages))
        for node, workers in NODES.items()
        for name, stages in workers.items()
    }
    with ExitStack() as ends:
        for service in running.values():
            service.start()
            ends.callback(end, service)
        for service in running.values():
            service.wait_ready()
        yield running


def on_node(node: str, worker: Service) -> Service:
    worker.settings = worker.settings.model_copy(update={"node_name": node})
    return worker


def end(service: Service) -> None:
    assert service.popen is not None
    if service.popen.poll() is None:
        service.kill()


@pytest.mark.parametrize(
    ("limits", "steps", "redispatched_s"),
    [
        pytest.param(QUICK, 300, 7.0, id="quick"),
        pytest.param({}, 1000, 10.0, id="production", marks=pytest.mark.long),
    ],
)
def test_the_jobs_of_a_node_that_is_gone_run_elsewhere_within_the_detection_time(
    line: Settings, limits: dict[str, float], steps: int, redispatched_s: float
) -> None:
    """`redispatched_s`: from the kill; the silence that convicts a worker is 8 s of it in production, 4 s here.

    The denoise goes on from a checkpoint.
    """
    settings = line.model_copy(update={"threads": 1} | limits)
    with (
        services(settings, coordinator="coordinator"), nodes(settings) as workers,
        tail(settings, PROGRESS) as progress, tail(settings, JOBS) as states, tail(settings, COMPLETIONS) as ends,
    ):  # fmt: skip
        upstream = Upstream(settings)
        long, short = (upstream.submit(num_inference_steps=steps, seed=steps) for steps in (steps, 4))
        eventually(lambda: reached(progress, long, steps // 3), 90)
        lease = states_of(states.events())[long].lease
        assert lease is not None
        lost = workers[lease.worker].settings.node_name
        killed_at = time.time()
        for name in NODES[lost]:
            workers[name].send_signal(signal.SIGKILL)
        eventually(
            lambda: {event.job for event in ends.events() if isinstance(event, JobCompleted)} == {long, short}, 120
        )
        state = eventually(lambda: ended(states, long))
    tried = [attempt for attempt in state.attempts if attempt.stage is Stage.DENOISE]
    assert [attempt.outcome for attempt in tried] == ["lost", "done"]
    assert [workers[attempt.worker].settings.node_name == lost for attempt in tried] == [True, False]
    waited = tried[1].dispatched_at - killed_at
    print(f"dispatched again {waited:.1f} s after the kill")
    assert settings.worker_lost_after_s - settings.heartbeat_interval_s < waited < redispatched_s
    assert (state.stages[Stage.DENOISE].resumed_from_step or 0) > 0


def reached(progress: Tail, job: str, step: int) -> bool:
    told = [event for event in progress.events() if isinstance(event, StepProgress) and event.job == job]
    return any(event.stage is Stage.DENOISE and event.step >= step for event in told)


def ended(states: Tail, job: str) -> JobState | None:
    state = states_of(states.events()).get(job)
    return state if state and state.status.ended else None
