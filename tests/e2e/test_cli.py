"""The commands for people, each in a process of its own, on the real line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest

from stages.media.h264 import probe
from tests.e2e.conftest import Line
from tests.processes import environment_of
from tests.support import eventually

pytestmark = pytest.mark.broker

PROMPT = "a red circle moving left on a white background"


def variables(line: Line) -> dict[str, str]:
    return os.environ | environment_of(line.settings)


def run(line: Line, *arguments: str, code: int = 0) -> str:
    """Standard output of a command that ends with `code`."""
    argv = [sys.executable, "-m", "latentline", *arguments]
    done = subprocess.run(argv, env=variables(line), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def objects(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


def test_a_prompt_is_submitted_watched_shown_and_downloaded(line_of_all: Line, tmp_path: Path) -> None:
    said = objects(run(line_of_all, "submit", PROMPT, "--seed", "5", "--metadata", "order=7", "--watch", "--json"))
    job = said[0]["job"]
    assert [update["update"] for update in said[1:]].count("ended") == 1
    assert (said[-1]["update"], said[-1]["status"]) == ("ended", "completed")
    assert said[-1]["completion"]["metadata"] == {"order": "7"}
    (listed,) = [state for state in objects(run(line_of_all, "jobs", "--json")) if state["job"] == job]
    assert (listed["status"], listed["recipe"]["seed"]) == ("completed", 5)
    assert job[:14] in run(line_of_all, "jobs", "--status", "completed")
    (shown,) = objects(run(line_of_all, "show", job[:16], "--json"))
    assert {ref["name"] for ref in shown["artifacts"]["mux"]} == {"video", "poster", "spritesheet"}
    assert shown["artifacts"]["mux"][0]["key"] in run(line_of_all, "show", job)
    run(line_of_all, "download", job, "-o", str(tmp_path / "film.mp4"))
    assert probe((tmp_path / "film.mp4").read_bytes()).frames == listed["recipe"]["num_frames"]
    assert list(tmp_path.iterdir()) == [tmp_path / "film.mp4"]


def test_a_job_that_fails_says_why_and_exits_with_1(line_of_all: Line) -> None:
    said = run(line_of_all, "submit", PROMPT, "--size", "63x64", "--watch", code=1)
    assert "failed" in said
    assert "multiples of 16" in said
    job = said.splitlines()[0]
    assert "has no video: it is failed" in run(line_of_all, "download", job, code=1)
    assert "has ended already: failed" in run(line_of_all, "cancel", job, code=1)


def test_a_running_job_is_cancelled(line_of_all: Line) -> None:
    job = run(line_of_all, "submit", PROMPT, "--steps", "1000").strip()
    eventually(lambda: (state := line_of_all.state(job)) is not None and state.stage == "denoise")
    run(line_of_all, "cancel", job, "--reason", "enough")
    assert "enough" in run(line_of_all, "watch", job, code=1)
    line_of_all.wait_for(job)


def test_a_key_that_belongs_to_another_prompt_is_refused(line_of_all: Line) -> None:
    key = uuid.uuid4().hex
    job = run(line_of_all, "submit", PROMPT, "--seed", "5", "--idempotency-key", key).strip()
    assert run(line_of_all, "submit", PROMPT, "--seed", "5", "--idempotency-key", key).strip() == job
    said = run(line_of_all, "submit", "a blue square", "--idempotency-key", key, code=1)
    assert f"id_conflict: the key '{key}' of tenant default belongs to another prompt ('{PROMPT}'), {job}" in said
    line_of_all.wait_for(job)


def test_ctrl_c_ends_a_watch_quietly(line_of_all: Line) -> None:
    # One that outlasts the start of the command: it shows what has ended before to nobody.
    job = line_of_all.upstream.submit(PROMPT, num_inference_steps=1000, seed=5)
    watch = subprocess.Popen(
        [sys.executable, "-m", "latentline", "watch"], env=variables(line_of_all),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    assert next(line for line in watch.stdout if job[:14] in line)
    watch.send_signal(signal.SIGINT)
    _, errors = watch.communicate(timeout=30)
    assert (watch.returncode, errors) == (130, "")
    line_of_all.upstream.cancel(job)
    line_of_all.wait_for(job)
