"""What checkpoints cost and save: `make bench-checkpoint`.

Price: the denoise stage with and without checkpoints to a real store, in turn, in one process, the same recipe and
model; in seconds, and in CPU seconds of the process, which neighbours on the machine change less. Redone: jobs of at
least 25 s on a real line with two denoise workers; each loses its worker by SIGKILL after a step drawn from the seed,
and what the next worker computes again is measured. A whole-stage retry is not run: at the same moment it would lose
all that the killed worker had computed, which is measured too. Every result of the line is compared bit for bit with
the undisturbed denoise of this process.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from gpu_runner.bundle import Bundle
from gpu_runner.device import bit_class, configure
from gpu_runner.families.wan import Wan
from schemas.bundle import BundleManifest, read_bundles
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.recipe import Recipe
from schemas.stage import Stage
from stages.denoise import DenoiseStage
from stages.execution.checkpoint_interval import IntervalRule
from stages.execution.in_process import NEVER, Undisturbed
from stages.storage.artifacts import ArtifactStore
from stages.storage.checkpoints import StoredCheckpoints
from stages.tensors import from_bytes, to_blob
from streams.worker.compute.child import intervals_of, store_of
from tests.bench.kills import Loss, two_denoisers
from tests.bench.report import Spread, last_line, table, write_section

BUNDLE = Path("bundles/tiny")
PROMPT = "a green circle moving left on a white background"
SIZE = "128x128"
SCHEDULERS = ("unipc", "flow-match-euler")
PAIRED = 0.1
"""Share of a job's steps in a denoise of the price: what else runs on the machine then changes less within a pair."""
EARLIEST, LATEST = 0.1, 0.9
"""Shares of a denoise between which a worker is killed."""
TITLE = "Checkpoints"


@dataclass(frozen=True)
class Run:
    """A denoise of this process: seconds, CPU seconds, latents, and the steps after which it was saved."""

    seconds: float
    cpu_seconds: float
    latents: torch.Tensor
    saved: tuple[int, ...]


class Saved(Undisturbed):
    def __init__(self, checkpoints: StoredCheckpoints) -> None:
        self.checkpoints, self.steps = checkpoints, list[int]()

    def checkpoint_saved(self, step: int) -> None:
        self.steps.append(step)


class Undisturbable:
    """The denoise stage, warm, in this process, with a real store."""

    def __init__(self, store: ArtifactStore, threads: int) -> None:
        self.store, self.bit_class = store, bit_class("cpu", threads)
        self.family = Wan(Bundle.open(BUNDLE), configure("cpu", threads))
        self.family.load_encoder()
        self.stage = DenoiseStage(self.family, NEVER)
        self.runs = 0

    def run(self, recipe: Recipe, rule: IntervalRule) -> Run:
        self.runs += 1
        task = Task(
            incarnation="bench", lease=self.runs, job="video_bench", tenant="bench", stage=Stage.DENOISE,
            key=f"run-{self.runs}", recipe=recipe, attempt=1,
        )  # fmt: skip
        inputs = {"embeds": to_blob("embeds", self.family.encode(recipe)).data}
        context = Saved(StoredCheckpoints.of(self.store, task, self.bit_class))
        self.stage.intervals = rule
        start, cpu_start = time.monotonic(), time.process_time()
        output = self.stage.run(task, inputs, context)
        seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
        return Run(seconds, cpu_seconds, from_bytes(output.objects[0].data)["latents"], tuple(context.steps))

    def pair(self, recipe: Recipe, rule: IntervalRule, saved_first: bool) -> tuple[Run, Run]:
        """Without and with checkpoints."""
        rules = (rule, NEVER) if saved_first else (NEVER, rule)
        first, second = (self.run(recipe, each) for each in rules)
        return (second, first) if saved_first else (first, second)


def recipe_for(bundle: BundleManifest, number: int, steps: int) -> Recipe:
    asked = PromptSubmitted(
        prompt=PROMPT, seed=9000 + number, num_inference_steps=steps, size=SIZE,
        scheduler=SCHEDULERS[number % len(SCHEDULERS)],
    )  # fmt: skip
    return recipe_of(asked, "video_bench", {bundle.model: bundle}, bundle.model)


def steps_for(seconds: float, bundle: BundleManifest, undisturbed: Undisturbable) -> int:
    """Steps that make a denoise of at least so many seconds on this machine, also when its neighbours sleep."""
    fastest = min(undisturbed.run(recipe_for(bundle, 0, 10), NEVER).seconds for _ in range(4)) / 10
    return min(math.ceil(1.05 * seconds / fastest), bundle.limits.max_inference_steps)


def cuts(seed: int, jobs: int, steps: int) -> list[int]:
    """A step for each job, drawn from as many equal parts of the denoise as there are jobs."""
    random = Random(seed)
    shares = [(part + random.random()) / jobs for part in range(jobs)]
    random.shuffle(shares)
    return [int(steps * (EARLIEST + (LATEST - EARLIEST) * share)) for share in shares]


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    bundle = read_bundles([BUNDLE])["tiny"]
    with two_denoisers(arguments.threads) as line:
        undisturbed, rule = Undisturbable(store_of(line.settings), arguments.threads), intervals_of(line.settings)
        steps = arguments.steps or steps_for(arguments.seconds, bundle, undisturbed)
        pairs = [
            undisturbed.pair(recipe_for(bundle, number, int(steps * PAIRED)), rule, saved_first=number % 2 == 0)
            for number in range(arguments.pairs)
        ]
        recipes = [recipe_for(bundle, number, steps) for number in range(arguments.jobs)]
        whole = [undisturbed.run(recipe, NEVER) for recipe in recipes]
        losses = [
            line.kill_once(recipe, cut)
            for recipe, cut in zip(recipes, cuts(arguments.seed, arguments.jobs, steps), strict=True)
        ]
    return figures_of(pairs, whole, losses) | {
        "steps": steps, "threads": arguments.threads, "seed": arguments.seed, "rule": rule,
    }  # fmt: skip


def figures_of(
    pairs: Sequence[tuple[Run, Run]], whole: Sequence[Run], losses: Sequence[Loss]
) -> dict[str, object]:  # fmt: skip
    """`pairs`: without and with checkpoints; `whole`: without, of the recipes that then lost their worker."""
    redone, computed = sum(loss.redone for loss in losses), sum(loss.computed for loss in losses)
    compared = [*((bare.latents, saved.latents) for bare, saved in pairs),
                *((run.latents, loss.latents) for run, loss in zip(whole, losses, strict=True))]  # fmt: skip
    return {
        "checkpoint_price": Spread.of([saved.seconds / bare.seconds for bare, saved in pairs]),
        "checkpoint_cpu_price": Spread.of([saved.cpu_seconds / bare.cpu_seconds for bare, saved in pairs]),
        "redone_share": redone / computed,
        "bit_equal": all(torch.equal(*pair) for pair in compared),
        "recovery_s": {part: Spread.of([loss.recovery[part] for loss in losses]) for part in losses[0].recovery},
        "denoise_s": Spread.of([run.seconds for run in whole]),
        "paired_s": Spread.of([bare.seconds for bare, _ in pairs]),
        "checkpoints": Spread.of([len(saved.saved) for _, saved in pairs]),
        "interval_s": Spread.of([saved.seconds / (len(saved.saved) + 1) for _, saved in pairs]),
        "redone_s": Spread.of([loss.redone for loss in losses]),
        "computed_s": Spread.of([loss.computed for loss in losses]),
        "fresh_load_s": Spread.of([loss.fresh_load for loss in losses]),
        "kills": [{"step": loss.step, "resumed_from": loss.resumed_from} for loss in losses],
        "compared": len(compared),
    }


def shown(figures: dict[str, Any]) -> str:
    rows = [
        ("price: denoise with / without checkpoints, s", figures["checkpoint_price"], "<= 1.03"),
        ("the same in CPU seconds", figures["checkpoint_cpu_price"], ""),
        ("redone compute / that of a whole-stage retry", f"{figures['redone_share']:.3f}", "<= 0.15"),
        (f"bit-equal to the undisturbed denoise ({figures['compared']} compared)", figures["bit_equal"], "True"),
        ("denoise of the price without checkpoints, s", figures["paired_s"], ""),
        ("its checkpoints", figures["checkpoints"], ""),
        ("seconds of work between them", figures["interval_s"], ""),
        ("denoise that is killed, undisturbed, s", figures["denoise_s"], ">= 25"),
        ("redone a kill, s", figures["redone_s"], ""),
        ("computed by the killed worker, s (a whole-stage retry redoes it)", figures["computed_s"], ""),
    ]
    kills = ", ".join(f"{kill['step']} (resumed from {kill['resumed_from']})" for kill in figures["kills"])
    return "\n\n".join([
        f"{figures['steps']} steps of {SIZE}, {figures['threads']} thread(s), seed {figures['seed']}; Young's rule for "
        f"{figures['rule'].mean_time_between_failures:g} s between failures. Killed after step {kills}. "
        "The whole-stage retry is computed from the same kills, not run.",
        table(("figure", "measured", "target"), rows),
        "Recovery, from SIGKILL to the end of the next worker's first step. *detect*: no heartbeat for 8 s, or the "
        "supervisor's next life of the worker announces itself before; *lease*: placed, read, counted; *fetch*: inputs "
        "and checkpoint from the store, solver restored. That worker is warm, so *load* takes nothing; in a fresh one "
        f"it takes {figures['fresh_load_s']} s.",
        table(("part", "s"), list(figures["recovery_s"].items())),
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=18, help="shorter denoises with and without checkpoints")
    parser.add_argument("--jobs", type=int, default=3, help="denoises, each of which loses its worker once")
    parser.add_argument("--seconds", type=float, default=25.0, help="least compute of a denoise")
    parser.add_argument("--steps", type=int, help="instead of --seconds")
    parser.add_argument("--seed", type=int, default=1, help="of the steps after which workers are killed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of either side")
    arguments = parser.parse_args()
    figures = measure(arguments)
    body = shown(figures)
    print(body)
    write_section(TITLE, " ".join(["python -m tests.bench.checkpoint", *sys.argv[1:]]), body)
    print(last_line(figures))


if __name__ == "__main__":
    main()
