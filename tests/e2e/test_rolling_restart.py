"""All workers are restarted in turn, under load: what they were at is handed over, and none of it is done twice."""

from __future__ import annotations

import signal

import pytest

from runtime.settings import Settings
from schemas.events.completions import JobCompleted
from schemas.events.progress import StepProgress
from schemas.stage import Stage
from streams.kafka.topics import COMPLETIONS, JOBS, PROGRESS
from tests.chaos.measure import work
from tests.processes import WHOLE_LINE, Tail, Upstream, services, states_of, tail
from tests.support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.long]

WORKERS = {name: words for name, words in WHOLE_LINE.items() if name != "coordinator"} | {"denoise-2": "worker denoise"}
JOBS_AT_ONCE, STEPS = 4, 800
"""Some 15 s each on a core of its own: more than fits into the grace period."""


def test_a_rolling_restart_of_all_workers_redoes_less_than_an_interval_a_worker(line: Settings) -> None:
    settings = line.model_copy(update={"threads": 1, "drain_grace_s": 3.0})
    with (
        services(settings, coordinator="coordinator", **WORKERS) as running,
        tail(settings, PROGRESS) as progress, tail(settings, JOBS) as states, tail(settings, COMPLETIONS) as ends,
    ):  # fmt: skip
        upstream = Upstream(settings)
        jobs = {upstream.submit(num_inference_steps=STEPS, seed=number) for number in range(JOBS_AT_ONCE)}
        eventually(lambda: len({step.job for step in steps_of(progress) if step.stage is Stage.DENOISE}) > 1, 90)
        for name in WORKERS:
            running[name].send_signal(signal.SIGTERM)
            assert running[name].wait() == 0, name
            running[name].start().wait_ready()
        eventually(lambda: {end.job for end in ends.events() if isinstance(end, JobCompleted)} == jobs, 240)
        eventually(lambda: all(state.status.ended for state in states_of(states.events()).values()))
        latest = states_of(states.events())
        told = steps_of(progress)
    attempts = [attempt for state in latest.values() for attempt in state.attempts]
    # A task that had not reached a worker when it left is void: nobody had begun it.
    assert {attempt.outcome for attempt in attempts if attempt.seconds} == {"done", "preempted"}
    assert {attempt.outcome for attempt in attempts} <= {"done", "preempted", "voided"}
    handed_over = [attempt for attempt in attempts if attempt.outcome == "preempted" and attempt.seconds]
    assert handed_over
    redone = work(latest.values(), told).redone
    print(f"{len(handed_over)} handed over, {redone:.2f} s redone")
    assert redone < settings.checkpoint_interval_min_s * len(WORKERS)


def steps_of(progress: Tail) -> list[StepProgress]:
    return [event for event in progress.events() if isinstance(event, StepProgress)]
