"""Watch jobs until they have ended: a live table for a person, plain lines in a pipe, JSON for a program."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from latentline import display
from latentline.job_table import Board
from latentline.output import update_json
from latentline.terminal import echo
from schemas.job import JobStatus
from streams.client.follow import Follower
from streams.client.updates import Ended, Update


def watch(
    follower: Follower, board: Board, jobs: Collection[str] | None, *, as_json: bool = False,
    patience: float | None = None, known_within: float | None = None, footer: str = "",
) -> dict[str, Ended]:  # fmt: skip
    """Show what happens until all `jobs` have ended; returns the ends. Raises `ClientError`."""
    updates = follower.updates(jobs, patience, known_within)
    console = display.console()
    if as_json:
        return ends_of(printed_json(updates))
    if not console.is_terminal:
        return ends_of(printed_lines(updates, board))
    with live(board, console, footer):
        return ends_of(taken(updates, board))


def all_completed(ends: Iterable[Ended]) -> bool:
    return all(end.status is JobStatus.COMPLETED for end in ends)


def ends_of(updates: Iterator[Update]) -> dict[str, Ended]:
    return {update.job: update for update in updates if isinstance(update, Ended)}


def taken(updates: Iterator[Update], board: Board) -> Iterator[Update]:
    for update in updates:
        board.take(update)
        yield update


def printed_json(updates: Iterator[Update]) -> Iterator[Update]:
    for update in updates:
        echo(update_json(update))
        yield update


def printed_lines(updates: Iterator[Update], board: Board) -> Iterator[Update]:
    """One line whenever a job goes on to something else; single steps are for the table."""
    said: dict[str, tuple[str, str]] = {}
    for update in updates:
        row = board.take(update)
        if row is not None and said.get(row.job) != (row.what, row.note):
            said[row.job] = row.what, row.note
            echo(display.plain_line(row, time.time()))
        yield update


@contextmanager
def live(board: Board, console: Console, footer: str = "") -> Iterator[None]:
    """The table is drawn anew a few times a second, by a thread of its own, and stays when the watching ends."""

    def render() -> RenderableType:
        limit = max(console.height - display.ROOM_AROUND_ROWS, 5)
        table = display.live_table(board, time.time(), limit, console.width)
        return Group(table, Text(footer, "dim")) if footer else table

    with Live(get_renderable=render, console=console, refresh_per_second=8, transient=False):
        yield
