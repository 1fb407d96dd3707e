"""Look at jobs, end them, fetch their videos."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentline import line
from latentline.failures import CommandFailed, refused
from latentline.terminal import echo

if TYPE_CHECKING:
    from schemas.job import JobState


class Status(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id, or how it begins.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


def jobs(
    status: Annotated[list[Status] | None, typer.Option(help="Only these; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the line's jobs, oldest first."""
    from latentline import display
    from latentline.job_table import row_of
    from latentline.output import to_json
    from streams.client.snapshot import snapshot

    found = [state for state in snapshot(line.settings()).values() if not status or str(state.status) in set(status)]
    if as_json:
        for state in found:
            echo(to_json(state))
        return
    if not found:
        echo("no jobs", err=True)
        return
    console = display.console()
    console.print(display.jobs_table(map(row_of, found), time.time(), console.width))


def show(job: JobId, as_json: AsJson = False) -> None:
    """Tell what happened to a job.

    Attempts with worker, times and errors, and the objects it left in the store.
    """
    from latentline.job_view import print_job, print_json

    settings = line.settings()
    state = find(job)
    (print_json if as_json else print_job)(state, line.store(settings))


def cancel(
    job: JobId, reason: Annotated[str, typer.Option(help="Comes back in the completion.")] = "asked by the user"
) -> None:
    """Ask for a job to stop.

    A running one stops within a denoise step. It ends in exactly one completion, whichever won.
    """
    from pydantic import ValidationError

    from streams.client.submit import cancel as send_cancel

    state = find(job)
    if state.status.ended:
        raise CommandFailed(f"{state.job} has ended already: {state.status}")
    try:
        send_cancel(line.settings(), state.job, state.tenant, reason)
    except ValidationError as error:
        raise refused(error, "--reason") from None
    echo(f"asked for the end of {state.job}")


def download(
    job: JobId,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File or folder; unset: JOB.mp4 here.")] = None,
) -> None:
    """Fetch the video of a completed job."""
    from latentline import videos
    from latentline.display import size_text

    state = find(job)
    if state.video is None:
        why = "`latentline watch` follows it" if not state.status.ended else "`latentline show` tells why"
        raise CommandFailed(f"{state.job} has no video: it is {state.status}; {why}")
    target = target_of(state.job, output)
    try:
        videos.download(line.store(line.settings()), state.job, state.video, target)
    except OSError as error:
        raise CommandFailed(f"cannot write {target}: {error.strerror}") from None
    echo(f"{target}  {size_text(state.video.size)}")


def target_of(job: str, output: Path | None) -> Path:
    if output is None:
        return Path(f"{job}.mp4")
    return output / f"{job}.mp4" if output.is_dir() else output


def find(text: str) -> JobState:
    from latentline.job_lookup import find_job
    from streams.client.snapshot import snapshot

    return find_job(snapshot(line.settings()), text)
