"""What the line costs: `make bench-line`. One job, and twenty, through the whole line against in-process diffusers.

Goal 1, line tax: wall time from submit to completion event, over one `WanPipeline` call plus a PyAV file. Goal 2:
makespan of waiting jobs over the sum of as many in-process calls. Both sides run in turn in one run, warm, with the
same prompts, seeds, threads and bundle. The workers of the line sleep while the other side computes.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import numpy as np
import torch
from prometheus_client.parser import text_string_to_metric_families

from infra.local.plan import settings_in
from infra.local.services import services
from infra.local.stack import Stack
from runtime.settings import Settings
from schemas.bundle import BundleManifest, read_bundles
from schemas.events.completions import JobCompleted
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import Recipe
from stages.media.h264 import VideoEncoder, remux
from streams.kafka.topics import COMPLETIONS
from tests.bench.report import Spread, last_line, table, write_section
from tests.processes import Tail, Upstream, tail
from tests.support import eventually

BUNDLE = Path("bundles/tiny")
PROMPT = "a red square moving right on a blue background"
TITLE = "The line against in-process diffusers"


class InProcess:
    """The other side: diffusers' own pipeline, and PyAV on its frames."""

    def __init__(self, bundle: BundleManifest, threads: int) -> None:
        from diffusers import WanPipeline

        torch.set_num_threads(threads)
        self.pipeline: Any = WanPipeline.from_pretrained(BUNDLE, dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)
        self.bundle = bundle

    def run(self, recipe: Recipe) -> float:
        """Seconds for one video, mp4 in memory."""
        from gpu_runner.schedulers import flow_match_scheduler

        start = time.monotonic()
        self.pipeline.scheduler = flow_match_scheduler(recipe)
        frames = self.pipeline(
            prompt=recipe.prompt, negative_prompt=recipe.negative_prompt, height=recipe.height, width=recipe.width,
            num_frames=recipe.num_frames, num_inference_steps=recipe.num_inference_steps,
            guidance_scale=recipe.guidance_scale, max_sequence_length=recipe.max_sequence_length,
            generator=torch.Generator("cpu").manual_seed(recipe.seed), output_type="np",
        ).frames[0]  # fmt: skip
        encoder = VideoEncoder(recipe.width, recipe.height, recipe.fps, recipe.encoding)
        encoder.write(np.rint(frames * 255).astype(np.uint8))
        io.BytesIO(remux(encoder.finish(), {})).getvalue()
        return time.monotonic() - start


@dataclass
class RunningLine:
    """The line side: a stack of its own, asked as an upstream service asks."""

    upstream: Upstream
    completions: Tail
    coordinator: str

    def run(self, *recipes: Recipe) -> tuple[float, list[JobCompleted]]:
        """Seconds from the first submit to the last completion event, and the completions."""
        start = time.monotonic()
        jobs = {
            self.upstream.submit(recipe.prompt, seed=recipe.seed, num_inference_steps=recipe.num_inference_steps)
            for recipe in recipes
        }
        ends = eventually(lambda: (found := self._ends(jobs)) if len(self._ends(jobs)) == len(jobs) else None, 3600, 0)
        seconds = time.monotonic() - start
        assert all(isinstance(end, JobCompleted) for end in ends), ends
        return seconds, ends

    def _ends(self, jobs: set[str]) -> list[JobCompleted]:
        return [event for event in self.completions.events() if getattr(event, "job", None) in jobs]  # type: ignore[misc]

    def transactions(self) -> tuple[float, float]:
        """Transactions of the coordinator so far, and their seconds."""
        with urlopen(f"{self.coordinator}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        samples = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
        return samples["latentline_transaction_seconds_count"], samples["latentline_transaction_seconds_sum"]


@contextmanager
def running_stack(threads: int, workers: dict[str, int]) -> Iterator[tuple[Stack, Settings]]:
    """A line of its own without views, ready, with so many threads in each compute child."""
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        chosen = tuple(service for service in services(workers) if service.name != "views")
        os.environ["LATENTLINE_THREADS"] = str(threads)
        stack.up(services=chosen, any_ports=True, stays=False)
        try:
            yield stack, settings_in(stack.environment(), Settings())
        finally:
            stack.down(wipe=True)


@contextmanager
def line(threads: int, workers: dict[str, int]) -> Iterator[RunningLine]:
    with running_stack(threads, workers) as (stack, settings), tail(settings, COMPLETIONS) as completions:
        health = stack.status()["health"]["coordinator"].removesuffix("/healthz")
        yield RunningLine(Upstream(settings), completions, health)


def recipes(bundle: BundleManifest, steps: int, first_seed: int, count: int) -> list[Recipe]:
    asked = (PromptSubmitted(prompt=PROMPT, seed=first_seed + n, num_inference_steps=steps) for n in range(count))
    return [recipe_of(one, "video_bench", {bundle.model: bundle}, bundle.model) for one in asked]


def steps_for(seconds: float, reference: InProcess) -> int:
    """Steps that make a job of at least so many seconds of compute, on this machine."""
    few, many = (min(reference.run(recipes(reference.bundle, steps, 1, 1)[0]) for _ in range(2)) for steps in (10, 60))
    step = (many - few) / 50
    return max(int((seconds - few) / step) + 10, 10)


def parts(ends: Sequence[JobCompleted], wall: float, transaction_s: float) -> dict[str, float]:
    """Where the seconds of one job went. Messaging is what is left: delivery, polling, pipes, heartbeats."""
    found: dict[str, float] = {}
    for name, seconds in ((name, s) for end in ends for stage in end.stages for name, s in stage.timings.items()):
        found[name] = found.get(name, 0.0) + seconds
    found["commit"] = transaction_s
    found["messaging"] = wall - sum(found.values())
    return found


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    bundle = read_bundles([BUNDLE])["tiny"]
    reference = InProcess(bundle, arguments.threads)
    steps = arguments.steps or steps_for(arguments.seconds, reference)
    with line(arguments.threads, {"denoise": arguments.denoise_workers}) as running:
        running.run(*recipes(bundle, 10, 1, 2))
        singles = pairs(arguments, bundle, steps, reference, running)
        many = recipes(bundle, steps, 5000, arguments.jobs)
        in_process = sum(reference.run(recipe) for recipe in many)
        makespan, _ = running.run(*many)
    return {**singles, "makespan_ratio": makespan / in_process, "jobs": arguments.jobs, "makespan_s": makespan,
            "in_process_sum_s": in_process, "steps": steps, "threads": arguments.threads,
            "denoise_workers": arguments.denoise_workers}  # fmt: skip


def pairs(
    arguments: argparse.Namespace, bundle: BundleManifest, steps: int, reference: InProcess, running: RunningLine
) -> dict[str, object]:
    """One job at a time, the two sides in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    transactions: list[float] = []
    broken_down: list[dict[str, float]] = []
    for recipe in recipes(bundle, steps, 1000, arguments.pairs):
        theirs.append(reference.run(recipe))
        count, seconds = running.transactions()
        wall, ends = running.run(recipe)
        after, seconds_after = running.transactions()
        ours.append(wall)
        transactions.append(after - count)
        broken_down.append(parts(ends, wall, seconds_after - seconds))
    compute = [part["compute"] for part in broken_down]
    return {
        "line_tax": Spread.of([a / b for a, b in zip(ours, theirs, strict=True)]),
        "fixed_tax_s": Spread.of([a - b for a, b in zip(ours, compute, strict=True)]),
        "line_s": Spread.of(ours),
        "in_process_s": Spread.of(theirs),
        "transactions": Spread.of(transactions),
        "parts": {name: Spread.of([part[name] for part in broken_down]) for name in sorted(broken_down[0])},
    }


def shown(figures: dict[str, Any]) -> str:
    rows = [
        ("line tax (line / in-process)", figures["line_tax"], "<= 1.15"),
        ("fixed tax, s (line - compute in its stages)", figures["fixed_tax_s"], "<= 0.6"),
        ("one job through the line, s", figures["line_s"], ""),
        ("one job in-process, s", figures["in_process_s"], ""),
        ("transactions a job", figures["transactions"], ""),
        (f"makespan of {figures['jobs']} jobs / sum of in-process", f"{figures['makespan_ratio']:.3f}", "<= 1.10"),
    ]
    where = [(name, spread) for name, spread in figures["parts"].items()]
    setting = f"{figures['steps']} steps, {figures['threads']} threads, {figures['denoise_workers']} denoise worker(s)"
    return "\n\n".join([
        setting, table(("figure", "measured", "target"), rows), "Seconds of one job by part, all stages together:",
        table(("part", "s"), where),
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7, help="single jobs of each side")
    parser.add_argument("--jobs", type=int, default=20, help="jobs of the makespan")
    parser.add_argument("--seconds", type=float, default=4.0, help="least compute of a job")
    parser.add_argument("--steps", type=int, help="instead of --seconds")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of either side")
    parser.add_argument("--denoise-workers", type=int, default=1)
    arguments = parser.parse_args()
    figures = measure(arguments)
    body = shown(figures)
    print(body)
    write_section(TITLE, " ".join(["python -m tests.bench.line", *sys.argv[1:]]), body)
    print(last_line(figures))


if __name__ == "__main__":
    main()
