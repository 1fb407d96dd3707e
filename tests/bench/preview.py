"""What previews cost a denoise: `make bench-preview`.

The denoise stage with and without previews to a real store, in turn, in one process, the same recipe and model; in
seconds, and in CPU seconds of the process, which neighbours on the machine change less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpu_runner.bundle import Bundle
from gpu_runner.device import configure
from gpu_runner.families.wan import Wan
from infra.local import bucket
from infra.local.plan import settings_in
from infra.local.stack import Stack
from runtime.settings import Settings
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.stage import Stage
from stages.denoise import DenoiseStage
from stages.execution.in_process import NEVER, Undisturbed
from stages.storage.artifacts import ArtifactStore
from stages.tensors import to_blob
from streams.worker.compute.child import store_of
from tests.bench.report import Spread, last_line, table, write_section

BUNDLE = Path("bundles/tiny")
TITLE = "Previews"
HIGHEST_PRICE = 1.01


class Shown(Undisturbed):
    def __init__(self, store: ArtifactStore) -> None:
        self.store, self.count = store, 0

    def preview(self, step: int, picture: bytes) -> None:
        self.store.put_preview("bench", "video_bench", picture)
        self.count += 1


@dataclass(frozen=True)
class Run:
    """Seconds, CPU seconds of the process, and how many previews came."""

    seconds: float
    cpu_seconds: float
    previews: int


class Bench:
    def __init__(self, store: ArtifactStore, arguments: argparse.Namespace) -> None:
        self.store, self.bundle = store, Bundle.open(BUNDLE)
        self.silent = replace(self.bundle, manifest=self.bundle.manifest.model_copy(update={"latent_colours": None}))
        self.family = Wan(self.bundle, configure("cpu", arguments.threads))
        self.family.load_encoder()
        self.stage = DenoiseStage(self.family, NEVER)
        asked = PromptSubmitted(
            prompt="a red circle moving left on a white background", size=arguments.size, seed=1,
            num_inference_steps=arguments.steps,
        )  # fmt: skip
        manifest = self.bundle.manifest
        recipe = recipe_of(asked, "video_bench", {manifest.model: manifest}, manifest.model)
        self.inputs = {"embeds": to_blob("embeds", self.family.encode(recipe)).data}
        self.task = Task(
            incarnation="bench", lease=1, job="video_bench", tenant="bench", stage=Stage.DENOISE, key="bench",
            recipe=recipe, attempt=1,
        )  # fmt: skip

    def run(self, shown: bool) -> Run:
        self.family.bundle = self.bundle if shown else self.silent
        context, start, cpu_start = Shown(self.store), time.monotonic(), time.process_time()
        self.stage.run(self.task, self.inputs, context)
        return Run(time.monotonic() - start, time.process_time() - cpu_start, context.count)

    def pair(self, number: int) -> tuple[Run, Run]:
        """Without and with previews; which comes first alternates."""
        order = (True, False) if number % 2 else (False, True)
        runs = {shown: self.run(shown) for shown in order}
        return runs[False], runs[True]


def measure(arguments: argparse.Namespace) -> list[tuple[Run, Run]]:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        stack.up(services=(), any_ports=True, stays=False)
        try:
            settings = settings_in(stack.environment(), Settings())
            bucket.apply(bucket.connect(settings), settings.store_bucket)
            bench = Bench(store_of(settings), arguments)
            bench.run(True)
            return [bench.pair(number) for number in range(arguments.pairs)]
        finally:
            stack.down(wipe=True)


def figures_of(pairs: Sequence[tuple[Run, Run]]) -> dict[str, object]:
    """Of pairs without and with previews. The price is what a denoise takes longer: 1 is nothing."""
    return {
        "preview_price": Spread.of([shown.seconds / bare.seconds for bare, shown in pairs]),
        "preview_cpu_price": Spread.of([shown.cpu_seconds / bare.cpu_seconds for bare, shown in pairs]),
        "denoise_s": Spread.of([bare.seconds for bare, _ in pairs]),
        "previews": statistics.median(shown.previews for _, shown in pairs),
    }


def shown(figures: dict[str, object]) -> str:
    words = {
        "preview_price": ("a denoise with previews / one without, by wall time", f"<= {HIGHEST_PRICE}"),
        "preview_cpu_price": ("the same, by the CPU time of the process", f"<= {HIGHEST_PRICE}"),
        "denoise_s": ("a denoise without, s", ""),
        "previews": ("previews that a denoise made", ""),
    }
    rows = [(words[name][0], figure, words[name][1]) for name, figure in figures.items()]
    return table(("figure", "measured", "target"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-page", action="store_true", help="write nothing into docs/benchmarks.md")
    arguments = parser.parse_args()
    figures = figures_of(measure(arguments))
    body = shown(figures)
    print(body)
    if not arguments.no_page:
        write_section(TITLE, f"make bench-preview PAIRS={arguments.pairs}", body)
    print(last_line(figures))


if __name__ == "__main__":
    main()
