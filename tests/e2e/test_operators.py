"""What an operator does to a running line: a worker is drained; a job that takes its workers with it is stopped."""

from __future__ import annotations

import pytest

from schemas.events.completions import JobCompleted, JobFailed
from schemas.events.progress import StepProgress
from schemas.stage import Stage
from streams.kafka.topics import PROGRESS
from tests.e2e.conftest import Line
from tests.e2e.test_cli import run
from tests.e2e.test_faults import end_of
from tests.processes import Tail, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

STEPS, FRAMES = 1000, 81
"""More than fits into the grace period."""


def steps_of(progress: Tail, job: str) -> list[StepProgress]:
    told = [event for event in progress.events() if isinstance(event, StepProgress)]
    return [event for event in told if event.job == job and event.stage is Stage.DENOISE]


def test_a_drained_worker_hands_its_job_over_without_losing_a_step_and_stays_away(line_of_all: Line) -> None:
    line = line_of_all
    job = line.upstream.submit(num_inference_steps=STEPS, num_frames=FRAMES, seed=70)
    with tail(line.settings, PROGRESS) as progress:
        eventually(lambda: steps_of(progress, job), 60)
        said = run(line, "drain", "denoise", "--reason", "the node gets a new driver")
        assert said.splitlines()[-1] == "denoise has left"
        assert line.services["denoise"].wait() == 0
        eventually(lambda: (now := line.state(job)) is not None and now.lease is None)
        state = line.state(job)
        assert state is not None
        assert [past.outcome for past in state.attempts][-1] == "preempted"
        assert state.stages[Stage.DENOISE].suspicions == 0
        [kept] = state.stages[Stage.DENOISE].checkpoints.values()
        line.revive("denoise")
        first = steps_of(progress, job)[0].lease
        goes_on = eventually(lambda: [step for step in steps_of(progress, job) if step.lease > first], 90)[0]
        assert goes_on.step == kept + 1
        assert max(step.step for step in steps_of(progress, job) if step.lease == first) == kept
    line.upstream.cancel(job)
    line.wait_for(job)


def test_the_nearest_names_are_told_for_a_worker_that_is_not_there(line_of_all: Line) -> None:
    said = run(line_of_all, "drain", "denoise-7", code=1)
    assert "no worker denoise-7: the nearest of 4 that are heard: denoise" in said


@pytest.mark.parametrize("limit", [1, pytest.param(3, marks=pytest.mark.long)])
def test_a_job_that_takes_every_worker_with_it_is_stopped_and_its_neighbour_completes(
    line_of_all: Line, limit: int
) -> None:
    """The test kills the worker as soon as the job has begun there, before any checkpoint."""
    with line_of_all.under("coordinator", suspicion_limit=limit):
        stopped_at(line_of_all, limit)


def stopped_at(line: Line, limit: int) -> None:
    poison, neighbour = (line.upstream.submit(num_inference_steps=steps, seed=71 + limit) for steps in (STEPS, 20))
    killed: set[int] = set()

    def stopped() -> bool:
        line.keep_running()
        state = line.state(poison)
        lease = state.lease if state else None
        if lease and lease.stage is Stage.DENOISE and lease.started_at and lease.number not in killed:
            killed.add(lease.number)
            line.services["denoise"].kill()
        return bool(line.ends(poison))

    eventually(stopped, 240)
    [end] = line.ends(poison)
    assert isinstance(end, JobFailed)
    assert end.error.code == "poison_job"
    assert len(killed) == limit + 1
    [message] = eventually(
        lambda: [
            letter["dlq_message"]
            for *_, headers in line.letters.poll()
            if (letter := dict(headers))["dlq_origin"].endswith(poison.encode())
        ]
    )
    assert message.count(b"vanished with lease") == len(killed)
    assert isinstance(end_of(line, neighbour), JobCompleted)
