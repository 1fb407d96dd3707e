"""`latentline replay`: an ended job once more, from a stage on."""

from __future__ import annotations

from typing import Annotated

import typer

from latentline import line
from latentline.job_lookup import find_job
from latentline.terminal import echo
from schemas.stage import STAGES, Stage


def replay(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id, or how it begins.")],
    start: Annotated[Stage, typer.Option("--from", help="The first stage that is computed anew.")],
) -> None:
    """Ask for an ended job again, from a stage on.

    A new job, with its own completion, whose metadata names the old one as `parent`. Earlier stages are taken from the
    store.
    """
    from operations.resubmit import replayed
    from streams.client.snapshot import snapshot
    from streams.client.submit import submit

    settings = line.settings()
    jobs = snapshot(settings)
    old = find_job(jobs, job)
    [new] = submit(settings, [replayed(old, start, jobs.values())], "latentline/replay", parent=old.job)
    anew = ", ".join(STAGES[STAGES.index(start) :])
    echo(f"{old.job} runs anew from {start} on ({anew})", err=True)
    echo(new.job)
