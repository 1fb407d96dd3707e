"""A whole node of workers is gone at once: what it held runs elsewhere within the detection time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from schemas.events import JobCompleted, StepProgress
from schemas.job import JobState
from schemas.stage import Stage
from streams.settings import Settings
from streams.topics import COMPLETIONS, JOBS, PROGRESS
from tests.processes import Service, Tail, Upstream, services, states_of, tail
from tests.support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.long]

REDISPATCHED_S = 10.0
"""From the kill; the silence that convicts a worker is 8 s of it."""
STEPS = 1000


@contextmanager
def on_node(settings: Settings, node: str, **workers: str) -> Iterator[list[Service]]:
    """Workers of one node, ready."""
    running = [Service(settings, name, "worker", stages) for name, stages in workers.items()]
    with ExitStack() as ends:
        for service in running:
            service.settings = service.settings.model_copy(update={"node_name": node})
            service.start()
            ends.callback(end, service)
        for service in running:
            service.wait_ready()
        yield running


def end(service: Service) -> None:
    assert service.popen is not None
    if service.popen.poll() is None:
        service.kill()


def test_the_jobs_of_a_node_that_is_gone_run_elsewhere_within_the_detection_time(line: Settings) -> None:
    """With production's own limits. The denoise goes on from a checkpoint, the job behind it waits its turn."""
    settings = line.model_copy(update={"threads": 1})
    with (
        services(settings, coordinator="coordinator"),
        on_node(settings, "a", front="encode,denoise", back="decode,mux") as lost,
        tail(settings, PROGRESS) as progress, tail(settings, JOBS) as states, tail(settings, COMPLETIONS) as ends,
    ):  # fmt: skip
        upstream = Upstream(settings)
        long, short = (upstream.submit(num_inference_steps=steps, seed=steps) for steps in (STEPS, 4))
        eventually(lambda: reached(progress, long, STEPS // 10), 90)
        with on_node(settings, "b", other="encode,denoise,decode,mux"):
            killed_at = time.time()
            for service in lost:
                service.kill()
            eventually(
                lambda: {event.job for event in ends.events() if isinstance(event, JobCompleted)} == {long, short}, 120
            )
        state = eventually(lambda: ended(states, long))
    tried = [attempt for attempt in state.attempts if attempt.stage is Stage.DENOISE]
    assert [(attempt.worker, attempt.outcome) for attempt in tried] == [("front", "lost"), ("other", "done")]
    waited = tried[1].dispatched_at - killed_at
    print(f"dispatched again {waited:.1f} s after the kill")
    assert settings.worker_lost_after_s - settings.heartbeat_interval_s < waited < REDISPATCHED_S
    assert (state.stages[Stage.DENOISE].resumed_from_step or 0) > 0


def reached(progress: Tail, job: str, step: int) -> bool:
    told = [event for event in progress.events() if isinstance(event, StepProgress) and event.job == job]
    return any(event.stage is Stage.DENOISE and event.step >= step for event in told)


def ended(states: Tail, job: str) -> JobState | None:
    state = states_of(states.events()).get(job)
    return state if state and state.status.ended else None
