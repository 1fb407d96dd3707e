"""A denoise whose worker is killed goes on at the other one from its last checkpoint, to the same bits.

The step of the kill is drawn from a seed that is printed; `KILL_SEED` gives it again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from random import Random, SystemRandom

import pytest
import torch

from gpu_runner.schedulers import FLOW_MATCH_SCHEDULERS
from schemas.job import Lease
from schemas.recipe import FeatureCache
from schemas.stage import Stage
from streams.kafka.topics import PROGRESS
from streams.worker.compute.child import store_of
from tests.e2e.conftest import Line
from tests.e2e.latents import completed, denoised, latents_of, undisturbed_latents
from tests.processes import Service, Tail, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

SEED = int(os.environ.get("KILL_SEED") or SystemRandom().randrange(2**32))
STEPS = 120
"""Of a denoise of some seconds: a checkpoint is stored before its middle."""
SLOW_STEPS, LARGE = 12, "256x256"
"""A step of this size outlasts the way of its news and a kill, so that a cut is where it is meant to be."""
CACHE = FeatureCache(threshold=0.4, cache_reset_every=10)


@pytest.fixture(scope="module")
def two_denoisers(whole: Line) -> Iterator[None]:
    second = Service(whole.settings, "denoise-2", "worker", "denoise").start()
    whole.services["denoise-2"] = second
    yield
    del whole.services["denoise-2"]
    second.wait_ready().send_signal(signal.SIGTERM)
    second.wait()


@pytest.fixture
def line(two_denoisers: None, line_of_all: Line) -> Iterator[Line]:
    yield line_of_all
    line_of_all.keep_running()


def denoise_lease(line: Line, job: str) -> Lease | None:
    state = line.state(job)
    return state.lease if state is not None and state.stage is Stage.DENOISE else None


def kill_the_denoiser(line: Line, progress: Tail, job: str, step: int) -> str:
    """SIGKILL to the worker that denoises a job, once it has done `step` steps. Its name."""
    lease = eventually(lambda: denoise_lease(line, job), 60)
    eventually(lambda: max(denoised(progress, job), default=0) >= step, 90, 0)
    line.services[lease.worker].kill()
    return lease.worker


def check(line: Line, step: int, **asked: object) -> int | None:
    """Kill, wait for the end, compare bit for bit. The step of the checkpoint that the other worker went on from."""
    print(f"to be killed after step {step}; KILL_SEED={SEED}")
    with tail(line.settings, PROGRESS) as progress:
        job = line.upstream.submit(**asked)  # type: ignore[arg-type]
        killed = kill_the_denoiser(line, progress, job, step)
    end = completed(line, job)
    state = eventually(lambda: line.state(job))
    attempts = [attempt for attempt in state.attempts if attempt.stage is Stage.DENOISE]
    assert [attempt.outcome for attempt in attempts] == ["lost", "done"]
    assert attempts[0].worker == killed != attempts[1].worker
    assert end.recipe is not None
    assert torch.equal(latents_of(store_of(line.settings), state), undisturbed_latents(end.recipe))
    return state.stages[Stage.DENOISE].resumed_from_step


def middle() -> int:
    return Random(SEED).randrange(STEPS // 3, 2 * STEPS // 3)


def test_a_killed_workers_denoise_goes_on_elsewhere_to_the_same_bits(line: Line) -> None:
    assert check(line, middle(), seed=700, num_inference_steps=STEPS, scheduler="unipc")


@pytest.mark.long
def test_flow_match_euler_goes_on_to_the_same_bits(line: Line) -> None:
    assert check(line, middle(), seed=701, num_inference_steps=STEPS, scheduler="flow-match-euler")


@pytest.mark.long
@pytest.mark.parametrize("scheduler", FLOW_MATCH_SCHEDULERS)
def test_a_cached_denoise_goes_on_from_a_reset_point_to_the_same_bits(line: Line, scheduler: str) -> None:
    resumed = check(line, middle(), seed=702, num_inference_steps=STEPS, scheduler=scheduler, cache=CACHE)
    assert resumed
    assert resumed % CACHE.cache_reset_every == 0


@pytest.mark.long
@pytest.mark.parametrize("scheduler", FLOW_MATCH_SCHEDULERS)
@pytest.mark.parametrize("cut", [1, SLOW_STEPS - 1], ids=["first", "next to last"])
def test_a_cut_at_either_end_ends_in_the_same_bits(line: Line, scheduler: str, cut: int) -> None:
    resumed = check(line, cut, seed=703 + cut, num_inference_steps=SLOW_STEPS, scheduler=scheduler, size=LARGE)
    assert resumed or cut == 1
