"""`latentline watch`: follow jobs to their end, or the whole line."""

from __future__ import annotations

from typing import Annotated

import typer

from latentline import line

KNOWN_WITHIN_S = 15.0
"""A coordinator may be just taking over."""


def watch(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Ids, or how they begin.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each update.")] = False,
) -> None:
    """Follow jobs until they have ended.

    Without any, the whole line until Ctrl-C. The exit code is 1 if a job that was named did not complete.
    """
    from latentline.job_lookup import find_job, is_whole
    from latentline.job_table import Board
    from latentline.watch_view import all_completed
    from latentline.watch_view import watch as show
    from streams.client.follow import Follower

    with Follower(line.settings()) as follower:
        # A whole id may be of a prompt that was sent a moment ago.
        wanted = [text if is_whole(text) else find_job(follower.jobs, text).job for text in jobs] if jobs else None
        ends = show(follower, Board(), wanted, as_json=as_json, known_within=KNOWN_WITHIN_S)
    if not all_completed(ends.values()):
        raise typer.Exit(1)
