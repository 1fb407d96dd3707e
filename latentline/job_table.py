"""What a person sees of jobs that run: one row a job, folded from updates. Knows nothing of Kafka or of terminals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from schemas.errors import ErrorReport
from schemas.events.completions import Completion, JobCancelled, JobFailed
from schemas.events.progress import StepProgress
from schemas.job import JobState, JobStatus
from schemas.printable import printable
from schemas.stage import Stage
from streams.client.updates import Changed, Ended, Stepped, Update

SHORT_ID = len("video_") + 8


@dataclass(frozen=True)
class Row:
    """One job; its texts are one line each. Times are unix seconds; `status` is None until the line has accepted it."""

    job: str
    began: float
    prompt: str = ""
    status: JobStatus | None = None
    stage: Stage | None = None
    lease: int = 0
    worker: str = ""
    step: int = 0
    steps: int = 0
    ended: float | None = None
    note: str = ""

    @property
    def short_id(self) -> str:
        return self.job[:SHORT_ID]

    @property
    def has_ended(self) -> bool:
        return self.status is not None and self.status.ended

    @property
    def what(self) -> str:
        """Where the job is, in words."""
        if self.status is None:
            return "submitted"
        if self.has_ended or self.stage is None:
            return str(self.status)
        return str(self.stage) if self.status is JobStatus.RUNNING else f"waits for {self.stage}"

    def elapsed(self, now: float) -> float:
        """Seconds from the prompt to the end, or to now."""
        return max((self.ended or now) - self.began, 0.0)


@dataclass
class Board:
    """Rows by job, in the order in which they were first heard of."""

    rows: dict[str, Row] = field(default_factory=dict)

    def expect(self, job: str, prompt: str, now: float) -> None:
        """A prompt that was sent and of which the line has not spoken yet."""
        self.rows.setdefault(job, Row(job, now, printable(prompt)))

    def take(self, update: Update) -> Row | None:
        """The row after the update; None for one that changes nothing that is shown."""
        before = self.rows.get(update.job)
        after = row_after(before, update)
        if after is None or after == before:
            return None
        self.rows[update.job] = after
        return after

    def visible(self, limit: int) -> list[Row]:
        """At most `limit` rows: all in their order, else those that move before those that wait or have ended."""
        rows = list(self.rows.values())
        return rows if len(rows) <= limit else sorted(rows, key=urgency)[:limit]

    def counts(self) -> dict[str, int]:
        """Jobs by status, `submitted` for those of which the line has not spoken."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            name = str(row.status or "submitted")
            counts[name] = counts.get(name, 0) + 1
        return counts


def urgency(row: Row) -> int:
    if row.status is JobStatus.RUNNING:
        return 0
    return 2 if row.has_ended else 1


def row_after(row: Row | None, update: Update) -> Row | None:
    if isinstance(update, Changed):
        return row_of(update.state, row)
    if row is None or row.has_ended:
        return row if isinstance(update, Stepped) or row is None else with_end(row, update)
    return with_step(row, update.progress) if isinstance(update, Stepped) else with_end(row, update)


def row_of(state: JobState, before: Row | None = None) -> Row:
    """The row of a state; steps are kept as long as the lease is the same."""
    lease = state.lease
    row = Row(
        state.job, state.accepted_at, printable(state.recipe.prompt) if state.recipe else "", state.status, state.stage,
        lease.number if lease else 0, printable(lease.worker) if lease else "", ended=state.ended_at,
        note=state_note(state),
    )  # fmt: skip
    if before is None:
        return row
    if lease is not None and before.lease == lease.number:
        row = replace(row, step=before.step, steps=before.steps)
    return replace(row, prompt=row.prompt or before.prompt)


def state_note(state: JobState) -> str:
    """Why it ended as it did, or what went wrong last."""
    if state.error is not None:
        return error_note(state.error)
    if state.cancel_reason is not None:
        return printable(state.cancel_reason)
    last = state.attempts[-1] if state.attempts and not state.status.ended else None
    if last is None or last.outcome == "done" or last.stage != state.stage:
        return ""
    ended = printable(f"{last.stage} {last.outcome} on {last.worker}")
    return ended + (f": {error_note(last.error)}" if last.error else "")


def error_note(error: ErrorReport) -> str:
    return printable(f"{error.code}: {error.message}")


def with_step(row: Row, progress: StepProgress) -> Row:
    """Progress of an earlier lease, or one that went back, is old news."""
    if progress.lease != row.lease or progress.stage != row.stage or progress.step < row.step:
        return row
    return replace(row, step=progress.step, steps=progress.steps)


def with_end(row: Row, end: Ended) -> Row:
    completion = end.completion
    if completion is None:
        return replace(row, status=end.status)
    return replace(row, status=end.status, ended=completion.ended_at, worker="", note=completion_note(completion))


def completion_note(completion: Completion) -> str:
    if isinstance(completion, JobFailed):
        return error_note(completion.error)
    return printable(completion.reason) if isinstance(completion, JobCancelled) else ""
