"""The whole line: a coordinator and four stage processes on real Kafka and real MinIO, with the shipped model."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from minio import Minio

from runtime.settings import Settings
from schemas.events.artifacts import ObjectRef
from schemas.events.completions import JobCancelled, JobCompleted
from schemas.stage import STAGES, Stage
from stages.media.h264 import decode, probe
from streams.kafka.topics import PROGRESS
from streams.worker.compute.child import store_of
from tests.e2e.conftest import Line
from tests.e2e.latents import completed, denoised, latents_of, undisturbed_frames, undisturbed_latents
from tests.processes import tail
from tests.support import eventually
from tiny_model.captions import parse_caption
from tiny_model.data import Pixels
from tiny_model.judge import judge

pytestmark = pytest.mark.broker

SLOW = 200
"""Steps of a denoise of some seconds: long enough to do something in its middle."""


def download(settings: Settings, ref: ObjectRef) -> bytes:
    client = Minio(
        endpoint=settings.store_endpoint, access_key=settings.store_access_key,
        secret_key=settings.store_secret_key.get_secret_value(), secure=False,
    )  # fmt: skip
    answer = client.get_object(bucket_name=settings.store_bucket, object_name=ref.key)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


@pytest.mark.parametrize(
    "prompt", ["a yellow square moving right on a blue background", "a green circle moving up on a black background"]
)
def test_the_video_shows_what_the_prompt_says(line_of_all: Line, prompt: str) -> None:
    end = completed(line_of_all, line_of_all.upstream.submit(prompt, seed=5))
    video = download(line_of_all.settings, end.video)
    found = probe(video)
    assert (found.frames, found.fps, found.codec) == (17, 8.0, "h264")
    caption = parse_caption(prompt)
    assert caption is not None
    verdict = judge(np.stack(list(decode(video))), caption)
    assert verdict.all_correct, verdict
    assert [stage.stage for stage in end.stages] == list(STAGES)
    assert all(stage.attempts == 1 for stage in end.stages)


def test_the_same_recipe_again_computes_nothing_and_gives_the_same_video(line_of_all: Line) -> None:
    prompt = "a white circle moving left on a red background"
    first, again = (completed(line_of_all, line_of_all.upstream.submit(prompt, seed=77)) for _ in range(2))
    assert [stage.reused for stage in again.stages] == [True, True, True, False]
    assert np.array_equal(frames_of(line_of_all, first), frames_of(line_of_all, again))


def test_steps_are_told_while_it_denoises(line_of_all: Line) -> None:
    with tail(line_of_all.settings, PROGRESS) as progress:
        job = line_of_all.upstream.submit(num_inference_steps=30, seed=1)
        completed(line_of_all, job)
        eventually(lambda: denoised(progress, job) == list(range(1, 31)))


def wait_for_step(line: Line, job: str, least: int = 3) -> None:
    """Until the denoise of a job is under way."""
    with tail(line.settings, PROGRESS) as progress:
        eventually(lambda: max(denoised(progress, job), default=0) >= least, 60)


def test_cancel_stops_a_running_denoise(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(seed=2, num_inference_steps=SLOW)
    wait_for_step(line_of_all, job)
    line_of_all.upstream.cancel(job)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCancelled)
    assert end.stage is Stage.DENOISE


def test_a_terminated_worker_hands_its_denoise_over_at_a_checkpoint(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(seed=3, num_inference_steps=300)
    wait_for_step(line_of_all, job)
    denoise = line_of_all.services["denoise"]
    denoise.send_signal(signal.SIGTERM)
    assert denoise.wait() == 0
    line_of_all.revive("denoise")
    end = completed(line_of_all, job)
    summary = next(stage for stage in end.stages if stage.stage is Stage.DENOISE)
    assert summary.attempts == 2
    assert summary.resumed_from_step
    state = line_of_all.state(job)
    assert state is not None
    assert [a.outcome for a in state.attempts if a.stage is Stage.DENOISE] == ["preempted", "done"]
    assert end.recipe is not None
    latents = undisturbed_latents(end.recipe)
    assert torch.equal(latents_of(store_of(line_of_all.settings), state), latents)
    assert np.array_equal(frames_of(line_of_all, end), undisturbed_frames(end.recipe, latents))


def frames_of(line: Line, end: JobCompleted) -> Pixels:
    return np.stack(list(decode(download(line.settings, end.video))))


@pytest.mark.parametrize("name", STAGES)
def test_killing_any_worker_loses_no_job(line_of_all: Line, name: str) -> None:
    jobs = [line_of_all.upstream.submit(seed=100 + number, num_inference_steps=40) for number in range(3)]
    eventually(lambda: (state := line_of_all.state(jobs[0])) and state.stage is not None and state.stage >= Stage(name))
    line_of_all.services[name].kill()
    line_of_all.revive(name)
    for end in line_of_all.wait_for(*jobs).values():
        assert isinstance(end, JobCompleted)


def test_killing_the_compute_child_costs_an_attempt_and_nothing_else(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(seed=4, num_inference_steps=SLOW)
    wait_for_step(line_of_all, job)
    signal_child(line_of_all, "denoise", signal.SIGKILL)
    end = completed(line_of_all, job)
    state = line_of_all.state(job)
    assert state is not None
    failed = [attempt for attempt in state.attempts if attempt.outcome == "failed"]
    assert [attempt.error.code for attempt in failed if attempt.error] == ["compute_child_died"]
    assert "SIGKILL" in (failed[0].error.message if failed[0].error else "")
    assert end.stages[1].attempts == 2


def test_a_step_that_hangs_is_ended_by_its_deadline(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(seed=6, num_inference_steps=SLOW)
    wait_for_step(line_of_all, job)
    signal_child(line_of_all, "denoise", signal.SIGSTOP)
    end = completed(line_of_all, job)
    state = line_of_all.state(job)
    assert state is not None
    [failed] = [attempt.error for attempt in state.attempts if attempt.outcome == "failed" and attempt.error]
    assert "hung" in failed.message
    assert end.stages[1].resumed_from_step is None or end.stages[1].resumed_from_step > 0


def signal_child(line: Line, name: str, number: int) -> None:
    """Signal the process that computes, below the forkserver of a worker."""
    import psutil

    popen = line.services[name].popen
    assert popen is not None
    below = psutil.Process(popen.pid).children(recursive=True)
    [computing] = [process for process in below if process.ppid() != popen.pid]
    computing.send_signal(number)


def test_a_killed_worker_takes_its_child_with_it(line_of_all: Line) -> None:
    import psutil

    mux = line_of_all.services["mux"]
    assert mux.popen is not None
    children = psutil.Process(mux.popen.pid).children(recursive=True)
    assert len(children) >= 2
    mux.kill()
    eventually(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    line_of_all.revive("mux")
