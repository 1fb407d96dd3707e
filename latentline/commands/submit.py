"""`latentline submit`: prompts into the line, as an upstream service would send them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentline import line
from latentline.failures import CommandFailed
from latentline.prompts import cache_of, metadata_of, prompt_of, read_prompts
from latentline.terminal import echo
from latentline.vocabulary import warn

if TYPE_CHECKING:
    from runtime.settings import Settings
    from schemas.events.prompts import PromptSubmitted
    from schemas.job import JobState
    from streams.client.submit import Submitted

ANSWERED_WITHIN_S = 15.0


def submit(
    prompt: Annotated[str | None, typer.Argument(help="What the video should show.")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON lines, one prompt each; - is standard input.")] = None,
    tenant: Annotated[str | None, typer.Option(help="On whose account.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Sent again under the same key it is the same job.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Bundle; unset: the line's default.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What it should not show.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="With --height, instead of --size.")] = None,
    height: Annotated[int | None, typer.Option(help="With --width, instead of --size.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length; becomes the nearest valid frame count.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames; wins over --seconds.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second.")] = None,
    num_inference_steps: Annotated[
        int | None, typer.Option("--num-inference-steps", "--steps", help="Denoise steps.")
    ] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="How strictly the prompt is followed.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Solver, such as unipc.")] = None,
    cache: Annotated[
        str | None,
        typer.Option(metavar="KIND[,SETTING=N]", help="Feature cache, such as first_block_cache,threshold=0.1."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="0 to 2^64 - 1; unset or -1: derived from the job id.")] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100; higher runs first.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Fail where memory is short, rather than decode in tiles.")
    ] = False,
    runs: Annotated[list[str], typer.Option(metavar="STAGE=NUMBER", help="Compute a stage anew, as this run.")] = [],  # noqa: B006
    metadata: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Comes back in the completion.")] = [],  # noqa: B006
    webhook_url: Annotated[str | None, typer.Option(metavar="URL", help="Hears of the end of the job.")] = None,
    retention: Annotated[
        str | None, typer.Option(metavar="CLASS", help="How long its video is kept: ephemeral, standard, keep.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until the jobs have ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Ask for a video, or for one for each line of a file.

    Prints the job ids. Options fill what a line of the file leaves unset. With --watch the exit code is 1 unless all
    have completed.
    """
    given: dict[str, Any] = {
        "tenant": tenant, "idempotency_key": idempotency_key, "model": model, "negative_prompt": negative_prompt,
        "size": size, "width": width, "height": height, "seconds": seconds, "num_frames": num_frames, "fps": fps,
        "num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale, "scheduler": scheduler,
        "cache": cache_of(cache), "seed": seed, "priority": priority, "metadata": metadata_of(metadata),
        "exact": exact or None, "runs": metadata_of(runs, "runs", "STAGE=NUMBER"),
        "webhook_url": webhook_url, "retention": retention,
    }  # fmt: skip
    if (prompt is None) == (file is None):
        raise typer.BadParameter("give a PROMPT or --file, one of the two")
    prompts = read_prompts(file, given) if file else [prompt_of({"prompt": prompt, **given})]
    settings = line.settings()
    warn(settings, prompts)
    if watch:
        submit_and_watch(settings, prompts, as_json)
    else:
        send(settings, prompts, as_json)


def send(settings: Settings, prompts: list[PromptSubmitted], as_json: bool) -> None:
    from streams.client.submit import submit as submit_prompts

    sent = submit_prompts(settings, prompts)
    say(sent, as_json)
    refuse_conflicts(settings, sent)
    if sys.stdout.isatty() and not as_json:
        echo("`latentline watch` shows how they get on", err=True)


def submit_and_watch(settings: Settings, prompts: list[PromptSubmitted], as_json: bool) -> None:
    from latentline.job_table import Board
    from latentline.watch_view import all_completed, watch
    from streams.client.follow import Follower
    from streams.client.submit import submit as submit_prompts

    with Follower(settings) as follower:
        sent, board = submit_prompts(settings, prompts), Board()
        for job in sent:
            board.expect(job.job, job.prompt.prompt, time.time())
        say(sent, as_json)
        refuse_conflicts(settings, sent)
        ends = watch(follower, board, [job.job for job in sent], as_json=as_json)
    if not all_completed(ends.values()):
        raise typer.Exit(1)


def refuse_conflicts(settings: Settings, sent: list[Submitted]) -> None:
    """Raises `CommandFailed` for a key that was used before with another prompt: the first one stands."""
    from streams.client.follow import Follower

    keyed = [one for one in sent if one.prompt.idempotency_key]
    if not keyed:
        return
    with Follower(settings) as follower:
        states = follower.states_of({one.job for one in keyed}, ANSWERED_WITHIN_S)
    taken = [one for one in keyed if (state := states.get(one.job)) and not one.prompt.has_body(state.body_digest)]
    if taken:
        raise CommandFailed("\n".join(conflict(one, states[one.job]) for one in taken))
    if len(states) < len({one.job for one in keyed}):
        echo("the line has not answered yet: whether a key was used before is not known", err=True)


def conflict(one: Submitted, first: JobState) -> str:
    asked = f" ({first.recipe.prompt!r})" if first.recipe else ""
    return (
        f"id_conflict: the key {one.prompt.idempotency_key!r} of tenant {first.tenant} belongs to another prompt"
        f"{asked}, {first.job}, which is {first.status}. Nothing was submitted: use another key"
    )


def say(sent: list[Submitted], as_json: bool) -> None:
    from latentline.output import to_json

    for job in sent:
        echo(to_json({"job": job.job, "id": job.id, "prompt": job.prompt}) if as_json else job.job)
