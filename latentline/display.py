"""Rows on a terminal (colours, bars) and in a pipe (one plain line each)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from latentline.job_table import Board, Row
from latentline.summary import HEADINGS, Summary
from schemas.job import JobStatus
from schemas.printable import printable
from schemas.stage import STAGES

STYLES = {
    JobStatus.RUNNING: "cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "yellow",
}
PIPE_WIDTH = 240
FLEXIBLE = ("prompt", "video", "key")
LIVE_WIDTHS = {"stage": len("waits for denoise"), "step": 20, "elapsed": len("100.0 s")}
ROOM_AROUND_ROWS = 6


def console(err: bool = False) -> Console:
    """A console whose lines are not broken when nobody looks at them."""
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Terminal(stderr=err, highlight=False, markup=False, emoji=False, soft_wrap=not stream.isatty(), width=width)


class Terminal(Console):
    """Text in whatever is printed can do nothing to the terminal; what the library itself says to it goes through."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, lines=True), style, control)


class Columns(Table):
    """A cell that is given as text is one line."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def columns(*headings: str, numbers: Iterable[str] = (), widths: Mapping[str, int] = {}) -> Table:
    """An empty table; `numbers` are the headings of right-aligned columns. What is FLEXIBLE gives way to the rest."""
    table = Columns(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading in numbers else "left", no_wrap=heading not in FLEXIBLE,
            min_width=widths.get(heading),
        )  # fmt: skip
    return table


def style_of(row: Row) -> str:
    return STYLES.get(row.status, "dim") if row.status else "dim"


def live_table(board: Board, now: float, limit: int, width: int) -> Table:
    """Job, prompt, stage, step k of n, elapsed; what does not fit is counted below."""
    table = columns("job", "prompt", "stage", "step", "elapsed", numbers=["elapsed"], widths=LIVE_WIDTHS)
    shown = board.visible(limit)
    for row in shown:
        table.add_row(
            row.short_id, prompt_text(row, width), Text(row.what, style_of(row)), steps_bar(row),
            f"{row.elapsed(now):.1f} s",
        )  # fmt: skip
    if len(shown) < len(board.rows):
        table.add_row("", Text(f"... {len(board.rows)} jobs: {counts_text(board)}", "dim"))
    return table


def prompt_text(row: Row, width: int) -> Text:
    text = Text(row.prompt, no_wrap=True, overflow="ellipsis")
    text.truncate(max(width - 70, 16), overflow="ellipsis")
    if row.note:
        text.append(f"\n{row.note}", "red" if row.status is JobStatus.FAILED else "yellow")
    return text


def steps_bar(row: Row) -> RenderableType:
    if not row.steps or row.has_ended:
        return ""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=row.steps, completed=row.step, width=12), f"{row.step}/{row.steps}")
    return grid


def counts_text(board: Board) -> str:
    return ", ".join(f"{count} {name}" for name, count in board.counts().items())


def plain_line(row: Row, now: float) -> str:
    """`   2.1 s  video_3fa1b2c4  denoise  a red circle ...  (on denoise-2)`"""
    notes = [note for note in (f"on {row.worker}" if row.worker else "", row.note) if note]
    said = f"  ({'; '.join(notes)})" if notes else ""
    return f"{row.elapsed(now):6.1f} s  {row.short_id}  {row.what:<17}  {row.prompt}{said}"


def jobs_table(rows: Iterable[Row], now: float, width: int) -> Table:
    table = columns("job", "status", "stage", "age", "took", "prompt", numbers=["age", "took"])
    for row in rows:
        table.add_row(
            row.short_id, Text(str(row.status), style_of(row)), "" if row.has_ended else str(row.stage or ""),
            ago(now - row.began), f"{row.elapsed(now):.1f} s" if row.has_ended else "", prompt_text(row, width),
        )  # fmt: skip
    return table


def ago(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `9 d`: one number a person can take in."""
    for unit, length, longest in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600)):
        if seconds < longest:
            return f"{max(seconds, 0) / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def size_text(size: float) -> str:
    """`812 B`, `45.1 KB`, `3.2 MB`."""
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def summary_table(summaries: Iterable[Summary]) -> Table:
    """Seconds from `encode` to `total`; a job without video is named by its prompt."""
    table = columns(*HEADINGS, numbers=HEADINGS[1:-1])
    for each in summaries:
        table.add_row(
            Text(printable(str(each.path or each.prompt)), no_wrap=True, overflow="ellipsis"),
            *(each.of_stage(stage) for stage in STAGES), f"{each.wait:.1f}", f"{each.seconds:.1f}",
            "" if each.size is None else size_text(each.size), Text(each.verdict, "green" if each.is_right else "red"),
        )  # fmt: skip
    return table
