"""Parts of a run, each in a process of its own: `python -m tests.runner.child FOLDER...`, one folder a case.

A folder holds `bundle` (a path), `recipe.json`, and what earlier parts left there. The processes are forked from one
that has imported torch and computed nothing, as a worker's are: importing it four times would take most of a minute.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gpu_runner.bundle import Bundle
from gpu_runner.denoise import Denoise, SolverState
from gpu_runner.families import family_of
from gpu_runner.families.base import Family
from schemas.recipe import Recipe


def cuts(recipe: Recipe) -> tuple[int, ...]:
    """After the first step, in the middle, and before the last, where a lost solver state would not show.

    With a feature cache: the first, the middle and the last of its reset points.
    """
    every = recipe.cache.cache_reset_every if recipe.cache else 1
    points = range(every, recipe.num_inference_steps, every)
    return (points[0], points[(len(points) - 1) // 2], points[-1])


def encode(family: Family, recipe: Recipe, folder: Path) -> None:
    family.load_encoder()
    save_file(family.encode(recipe), folder / "embeds")


def denoise(family: Family, recipe: Recipe, folder: Path) -> None:
    family.load_denoiser()
    run = Denoise(family, recipe, load_file(folder / "embeds"))
    while not run.done:
        run.step()
        if run.index in cuts(recipe):
            (folder / f"checkpoint-{run.index}").write_bytes(run.state().to_bytes())
    save_file({"latents": run.latents.contiguous()}, folder / "latents")


def resume(family: Family, recipe: Recipe, folder: Path) -> None:
    family.load_denoiser()
    for cut in cuts(recipe):
        run = Denoise(family, recipe, load_file(folder / "embeds"))
        run.restore(SolverState.from_bytes((folder / f"checkpoint-{cut}").read_bytes()))
        assert run.index == cut
        while not run.done:
            run.step()
        save_file({"latents": run.latents.contiguous()}, folder / f"resumed-{cut}")


def decode(family: Family, recipe: Recipe, folder: Path) -> None:
    family.load_decoder()
    chunks = list(family.decode(load_file(folder / "latents")["latents"]))
    save_file({"video": torch.cat(chunks, 2)}, folder / "video")


PARTS: dict[str, Callable[[Family, Recipe, Path], None]] = {
    "encode": encode, "denoise": denoise, "resume": resume, "decode": decode,
}  # fmt: skip


def run_part(part: str, folders: list[Path]) -> None:
    torch.set_num_threads(1)
    for folder in folders:
        bundle = Bundle.open(Path((folder / "bundle").read_text()))
        family = family_of(bundle.manifest.family)(bundle, torch.device("cpu"))
        PARTS[part](family, Recipe.read((folder / "recipe.json").read_bytes()), folder)


def main() -> None:
    folders = [Path(folder) for folder in sys.argv[1:]]
    for part in PARTS:
        process = multiprocessing.get_context("fork").Process(target=run_part, args=(part, folders))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{part} failed")


if __name__ == "__main__":
    main()
