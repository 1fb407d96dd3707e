"""`latentline show`: one job in full, for a person or for a program."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from latentline import display, videos
from latentline.job_table import row_of
from latentline.output import to_json
from latentline.terminal import echo
from latentline.timeline import Moment, timeline
from schemas.errors import LatentlineError
from schemas.job import JobState
from schemas.printable import printable

if TYPE_CHECKING:
    from stages.storage.artifacts import ArtifactStore

BAD = {"failed", "lost", "voided", "overdue", "input_lost", "preempted"}


def print_json(state: JobState, store: ArtifactStore) -> None:
    """The state with the objects of each stage; `artifacts` is null where the store cannot tell."""
    try:
        objects = {str(stage): list(found) for stage, found in videos.artifacts(store, state).items()}
    except LatentlineError:
        objects = None
    echo(to_json({"job": state.job, "state": state, "artifacts": objects}))


def print_job(state: JobState, store: ArtifactStore) -> None:
    console = display.console()
    print_head(console, state)
    print_timeline(console, timeline(state))
    print_artifacts(console, state, store)


def print_head(console: Console, state: JobState) -> None:
    row = row_of(state)
    console.print(Text.assemble(
        (state.job, "bold"), "  ", (row.what, display.style_of(row)), f"  {row.elapsed(time.time()):.1f} s",
        f"  tenant {printable(state.tenant)}", f"  priority {state.priority}" if state.priority else "",
    ))  # fmt: skip
    for line in recipe_lines(state):
        console.print(printable(line), style="dim")
    if row.note:
        console.print(row.note, style="red" if row.has_ended else "yellow")
    console.print()


def recipe_lines(state: JobState) -> list[str]:
    recipe = state.recipe
    if recipe is None:
        return []
    variant = ["served as a variant: decoded in tiles, for want of memory"] if state.asked else []
    return [
        recipe.prompt,
        f"{recipe.model}  {recipe.width}x{recipe.height}, {recipe.num_frames} frames at {recipe.fps} fps, "
        f"{recipe.num_inference_steps} steps, guidance {recipe.guidance_scale:g}, {recipe.scheduler}, "
        f"seed {recipe.seed}",
        *variant,
    ]


def print_timeline(console: Console, moments: list[Moment]) -> None:
    table = display.columns("at", "what", "worker", "outcome", "took", "compute", "", numbers=["at", "took", "compute"])
    for moment in moments:
        table.add_row(
            f"+{moment.after:.1f} s", moment.what, moment.worker,
            Text(moment.outcome, "yellow" if moment.outcome in BAD else ""),
            seconds_text(moment.took), seconds_text(moment.seconds), Text(moment.note, "dim"),
        )  # fmt: skip
    console.print(table)


def seconds_text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def print_artifacts(console: Console, state: JobState, store: ArtifactStore) -> None:
    try:
        found = videos.artifacts(store, state)
    except LatentlineError as error:
        console.print(f"\nwhat it left in the store cannot be told: {error}", style="yellow")
        return
    if not found:
        return
    table = display.columns("stage", "object", "size", "key", numbers=["size"])
    for stage, objects in found.items():
        for ref in objects:
            table.add_row(str(stage), ref.name, display.size_text(ref.size), ref.key)
    console.print()
    console.print(table)
