"""The tree of errors. An error decides its own retry; nobody downstream guesses.

LatentlineError
├── Transient            try again later
│   └── StoreUnavailable   the infrastructure's fault: costs the job no attempt
├── ResourceExhausted    elsewhere, or smaller (out of memory, device lost)
├── InvalidJob           never: names the field, its value, the limit, the nearest valid value
├── InputLost            never here: the stage that produced the input runs again
├── Interrupted          control flow, not failures
│   ├── Cancelled          the job ends as cancelled
│   └── Preempted          the work goes on elsewhere from its checkpoint
└── Bug                  twice, then failed and dead-lettered (also every exception outside this tree)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from schemas.base import Frozen, OpenEnum


class ErrorKind(OpenEnum):
    TRANSIENT = "transient"
    INFRASTRUCTURE = "infrastructure"
    RESOURCE = "resource"
    INVALID_JOB = "invalid_job"
    INPUT_LOST = "input_lost"
    BUG = "bug"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Retry:
    """How often and how late a failed stage runs again; delays in seconds, before jitter."""

    attempts: int
    first_delay: float = 0.0
    factor: float = 2.0
    longest_delay: float = 300.0
    costs_attempt: bool = True

    def delay(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure in a row (counted from 1)."""
        return min(self.first_delay * self.factor ** min(max(failures - 1, 0), 62), self.longest_delay)


NEVER = Retry(attempts=1)

RETRIES: dict[ErrorKind, Retry] = {
    ErrorKind.TRANSIENT: Retry(attempts=5, first_delay=1.0),
    ErrorKind.INFRASTRUCTURE: Retry(attempts=5, first_delay=1.0, longest_delay=30.0, costs_attempt=False),
    ErrorKind.RESOURCE: Retry(attempts=3, first_delay=1.0),
    ErrorKind.INVALID_JOB: NEVER,
    ErrorKind.INPUT_LOST: Retry(attempts=3),
    ErrorKind.BUG: Retry(attempts=2, first_delay=1.0),
    ErrorKind.UNKNOWN: Retry(attempts=2, first_delay=1.0),
}


class ErrorReport(Frozen):
    """An error as it travels in outcomes, job states and completions."""

    kind: ErrorKind
    code: str = Field(description="stable word for programs, such as `invalid_value` or `gpu_out_of_memory`")
    message: str = Field(max_length=2000, description="plain words for people")
    field: str | None = None
    value: str | None = Field(None, max_length=200)
    limit: str | None = None
    nearest: str | None = Field(None, description="the nearest valid value")

    @property
    def retry(self) -> Retry:
        return RETRIES[self.kind]


class LatentlineError(Exception):
    """Root of the tree."""

    kind: ClassVar[ErrorKind] = ErrorKind.BUG
    code: ClassVar[str] = "internal_error"

    def report(self) -> ErrorReport:
        return ErrorReport(kind=self.kind, code=self.code, message=str(self)[:2000])


class Transient(LatentlineError):
    kind = ErrorKind.TRANSIENT
    code = "temporarily_unavailable"


class StoreUnavailable(Transient):
    kind = ErrorKind.INFRASTRUCTURE
    code = "store_unavailable"


class ResourceExhausted(LatentlineError):
    kind = ErrorKind.RESOURCE
    code = "gpu_out_of_memory"


class ChildDied(ResourceExhausted):
    """The compute child ended while it held a task (signal, native crash, killed for memory)."""

    code = "compute_child_died"


class InvalidJob(LatentlineError):
    """The job can never succeed as asked."""

    kind = ErrorKind.INVALID_JOB
    code = "invalid_value"

    def __init__(self, field: str, value: object, limit: str, nearest: object | None = None) -> None:
        self.field, self.value, self.limit, self.nearest = field, shorten(value), limit, nearest
        hint = "" if nearest is None else f"; nearest valid value: {nearest}"
        super().__init__(f"{field} = {self.value}: {limit}{hint}")

    def report(self) -> ErrorReport:
        nearest = None if self.nearest is None else str(self.nearest)
        return ErrorReport(
            kind=self.kind, code=self.code, message=str(self)[:2000],
            field=self.field, value=self.value, limit=self.limit, nearest=nearest,
        )  # fmt: skip


class InputLost(LatentlineError):
    """An object that the manifest with `etag` promises is missing or does not match its digest."""

    kind = ErrorKind.INPUT_LOST
    code = "input_lost"

    def __init__(self, stage: str, key: str, etag: str, why: str) -> None:
        self.stage, self.key, self.etag = stage, key, etag
        super().__init__(f"output of {stage} {key[:12]} is lost: {why}")


class Interrupted(LatentlineError):
    """Control flow: the work stops here because somebody asked for it."""


class Cancelled(Interrupted):
    code = "cancelled"


class Preempted(Interrupted):
    code = "preempted"


class Bug(LatentlineError):
    """A fault of ours, or an exception outside the tree."""


def report_of(error: BaseException) -> ErrorReport:
    """The report of any exception; what is outside the tree is a bug."""
    if isinstance(error, LatentlineError):
        return error.report()
    return ErrorReport(kind=ErrorKind.BUG, code=Bug.code, message=f"{type(error).__name__}: {error}"[:2000])


def shorten(value: object, longest: int = 80) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
