"""A denoise on a real line that loses its worker after a given step: what was computed twice, what recovery took."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import urlopen

import torch
from prometheus_client.parser import text_string_to_metric_families

from infra.local.health import unready
from infra.local.stack import Stack
from runtime import metrics
from runtime.settings import Settings
from schemas import envelope
from schemas.events.progress import StepProgress
from schemas.job import JobState, Lease
from schemas.recipe import Recipe
from schemas.stage import Stage
from streams.kafka.topics import JOBS, PROGRESS
from streams.worker.compute.child import store_of
from tests.bench.line import running_stack
from tests.e2e.latents import latents_of
from tests.processes import Tail, Upstream, states_of, tail
from tests.support import eventually


@dataclass(frozen=True)
class Step:
    """A denoise step under a lease: its number from 1, how long it took, when it was told (unix seconds)."""

    lease: int
    number: int
    seconds: float
    at: float


@dataclass(frozen=True)
class Loss:
    """What a kill came to, in seconds.

    `computed`: by the killed worker; `redone`: of that, by the next one again. `fresh_load`: what loading the model
    has taken the killed worker's next life; the one that took over was warm.
    """

    step: int
    resumed_from: int
    computed: float
    redone: float
    recovery: dict[str, float]
    fresh_load: float
    latents: torch.Tensor


class Steps:
    """The denoise steps of a job as `progress` tells them."""

    def __init__(self, progress: Tail) -> None:
        self._progress, self._read = progress, 0
        self._steps: dict[str, list[Step]] = {}

    def of(self, job: str) -> list[Step]:
        for _, value, headers in self._progress.poll()[self._read :]:
            self._read += 1
            event, attributes = envelope.read(value, headers)
            if isinstance(event, StepProgress) and event.stage is Stage.DENOISE:
                step = Step(event.lease, event.step, event.step_seconds or 0.0, attributes.time or 0.0)
                self._steps.setdefault(event.job, []).append(step)
        return self._steps.get(job, [])


@dataclass
class Victims:
    """A line of two denoise workers under a supervisor, and what it tells."""

    stack: Stack
    settings: Settings
    upstream: Upstream
    jobs: Tail
    steps: Steps

    def kill_once(self, recipe: Recipe, step: int) -> Loss:
        """Have it denoised, with a SIGKILL to its worker once `step` steps are done."""
        job = self.upstream.submit(
            recipe.prompt, seed=recipe.seed, num_inference_steps=recipe.num_inference_steps,
            scheduler=recipe.scheduler, size=f"{recipe.width}x{recipe.height}",
        )  # fmt: skip
        lease = eventually(lambda: self._denoise_lease(job), 60)
        eventually(lambda: any(done.number >= step for done in self.steps.of(job)), 600, 0)
        os.kill(self.stack.status()["pids"][lease.worker], signal.SIGKILL)
        killed_at = time.time()
        state = eventually(lambda: self._completed(job), 600)
        assert state.recipe is not None
        assert state.recipe.digest == recipe.digest
        return self._loss(state, lease, killed_at, self._load_seconds(lease.worker))

    def _denoise_lease(self, job: str) -> Lease | None:
        state = states_of(self.jobs.events()).get(job)
        return state.lease if state is not None and state.stage is Stage.DENOISE else None

    def _completed(self, job: str) -> JobState | None:
        state = states_of(self.jobs.events()).get(job)
        assert state is None or state.error is None, state
        return state if state is not None and state.video is not None else None

    def _loss(self, state: JobState, killed: Lease, killed_at: float, fresh_load: float) -> Loss:
        lost, done = (attempt for attempt in state.attempts if attempt.stage is Stage.DENOISE)
        assert (lost.lease, lost.outcome, done.outcome) == (killed.number, "lost", "done")
        steps = eventually(lambda: self.steps.of(state.job) if self._is_told(state, done.lease) else None)
        ours, theirs = ([step for step in steps if step.lease == lease] for lease in (lost.lease, done.lease))
        resumed_from = state.stages[Stage.DENOISE].resumed_from_step or 0
        begun = max(killed_at - ours[-1].at, 0.0)
        first, started_at = theirs[0], self._started_at(state.job, done.lease)
        return Loss(
            ours[-1].number, resumed_from, sum(step.seconds for step in ours) + begun,
            sum(step.seconds for step in ours if step.number > resumed_from) + begun,
            {
                "detect": lost.ended_at - killed_at,
                "lease": started_at - lost.ended_at,
                "fetch": first.at - first.seconds - started_at,
                "first step": first.seconds,
                "all": first.at - killed_at,
            },
            fresh_load,
            latents_of(store_of(self.settings), state),
        )  # fmt: skip

    def _is_told(self, state: JobState, lease: int) -> bool:
        assert state.recipe is not None
        return any(step.lease == lease and step.number == state.recipe.num_inference_steps
                   for step in self.steps.of(state.job))  # fmt: skip

    def _started_at(self, job: str, lease: int) -> float:
        return next(
            event.lease.started_at
            for event in self.jobs.events()
            if isinstance(event, JobState) and event.job == job and event.lease is not None
            and event.lease.number == lease and event.lease.started_at is not None
        )  # fmt: skip

    def _load_seconds(self, worker: str) -> float:
        """Of a worker that the supervisor has started again, once it is ready."""
        url = self.stack.status()["health"][worker]
        eventually(lambda: unready(url) is None, 120)
        return sample(url.removesuffix("/healthz"), f"{metrics.MODEL_LOAD}_sum")


def sample(service: str, name: str) -> float:
    with urlopen(f"{service}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


@contextmanager
def two_denoisers(threads: int) -> Iterator[Victims]:
    with (
        running_stack(threads, {"denoise": 2}) as (stack, settings),
        tail(settings, JOBS) as jobs,
        tail(settings, PROGRESS) as progress,
    ):
        yield Victims(stack, settings, Upstream(settings), jobs, Steps(progress))
