"""`latentline demo`: the whole line once, from prompts on a topic to videos on disk."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from latentline import line
from latentline.commands.stack import AnyPorts, progress_lines
from latentline.failures import CommandFailed
from latentline.prompts import read_prompts
from latentline.terminal import echo
from latentline.vocabulary import warn

if TYPE_CHECKING:
    from infra.local.stack import Stack
    from latentline.summary import Summary
    from runtime.settings import Settings
    from schemas.events.prompts import PromptSubmitted
    from streams.client.submit import Submitted
    from streams.client.updates import Ended

PROMPTS = Path(__file__).resolve().parents[2] / "examples" / "prompts.jsonl"
PATIENCE_S = 180.0
LONGEST_NAME = 36


def demo(
    prompts: Annotated[Path, typer.Option(help="JSON lines, one prompt each.")] = PROMPTS,
    out: Annotated[Path, typer.Option(help="Folder for videos, posters and strip.png.")] = Path("out"),
    any_ports: AnyPorts = False,
) -> None:
    """Watch prompts become videos: starts a line, runs it, stops it.

    A line that is up in this folder is used and left running. The exit code is 1 if a job did not complete or most
    videos do not show what was asked.
    """
    from latentline.summary import worked

    asked = read_prompts(prompts)
    with running_stack(any_ports) as stack:
        settings = line.settings_of(stack)
        warn(settings, asked)
        try:
            summaries = run(settings, asked, out)
        except Exception:
            echo(f"the services' logs: {stack.data / 'logs'}", err=True)
            raise
        report(summaries, out)
        if not worked(summaries):
            raise CommandFailed(f"the demo did not go as it should; the services' logs: {stack.data / 'logs'}")


@contextmanager
def running_stack(any_ports: bool) -> Iterator[Stack]:
    """The stack of this folder; what was started for it is stopped again, also on SIGTERM and Ctrl-C."""
    signal.signal(signal.SIGTERM, interrupt)
    stack = line.local_stack()
    if stack.is_running:
        echo(f"using the line that runs in {stack.data}")
        yield stack
        return
    say = progress_lines()
    try:
        stack.up(any_ports=any_ports, stays=False, say=say)
        yield stack
    finally:
        say("stopping the line")
        stack.down()


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def run(settings: Settings, prompts: list[PromptSubmitted], out: Path) -> list[Summary]:
    from latentline.job_table import Board
    from latentline.watch_view import watch
    from streams.client.follow import Follower
    from streams.client.submit import submit

    with Follower(settings) as follower:
        jobs, board = submit(settings, prompts, source="latentline-demo"), Board()
        for job in jobs:
            board.expect(job.job, job.prompt.prompt, time.time())
        echo(f"{len(jobs)} prompts are on the topic; their completions are awaited\n")
        ends = watch(follower, board, [job.job for job in jobs], patience=PATIENCE_S)
    echo()
    return collect(settings, jobs, ends, out)


def collect(settings: Settings, jobs: list[Submitted], ends: dict[str, Ended], out: Path) -> list[Summary]:
    """Fetch, judge and strip the videos of the jobs that completed."""
    from latentline.demo_videos import read_demo_video, verdict, write_strip
    from latentline.summary import Summary

    summaries, films = [], []
    for number, job in enumerate(jobs, 1):
        completion, prompt = ends[job.job].completion, job.prompt.prompt
        if completion is None:
            raise CommandFailed(f"{job.job} ended before it was submitted")
        path = fetch(settings, completion, out / f"{number:02d}-{slug(prompt)}")
        film = read_demo_video(prompt, path) if path else None
        films += [film] if film else []
        summaries.append(Summary(prompt, completion, path, verdict(film) if film else None))
    if films:
        write_strip(films, out / "strip.png")
    return summaries


def fetch(settings: Settings, completion: object, place: Path) -> Path | None:
    """Video and poster, side by side; the path of the video."""
    from latentline.videos import download
    from schemas.events.completions import JobCompleted

    if not isinstance(completion, JobCompleted):
        return None
    store = line.store(settings)
    video = place.with_suffix(".mp4")
    download(store, completion.job, completion.video, video)
    if completion.poster is not None:
        download(store, completion.job, completion.poster, place.with_suffix(".webp"))
    return video


def slug(prompt: str) -> str:
    """Some whole words of the prompt, fit for a file name."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")
    return words if len(words) <= LONGEST_NAME else words[: LONGEST_NAME + 1].rpartition("-")[0] or words[:LONGEST_NAME]


def report(summaries: list[Summary], out: Path) -> None:
    from latentline import display

    console = display.console()
    console.print(display.summary_table(summaries))
    ends = [each.completion.ended_at for each in summaries]
    begins = [each.completion.accepted_at for each in summaries]
    made, took = sum(each.path is not None for each in summaries), max(ends) - min(begins)
    if any(each.reuses for each in summaries):
        console.print("reused: the store had this output from an earlier run; `latentline down --wipe` clears it")
    console.print(f"\n{made} of {len(summaries)} videos in {took:.1f} s; a picture of all: {out / 'strip.png'}")
