"""The tree of errors. An error decides its own retry; nobody downstream guesses.

LatentlineError
├── Transient            try again later
│   └── StoreUnavailable, WorkerLost, OtherRevision   the infrastructure's fault: costs the job no attempt
├── ResourceExhausted    elsewhere, or smaller (out of memory, device lost)
├── InvalidJob           never: names the field, its value, the limit, the nearest valid value
├── InputLost            never here: the stage that produced the input runs again
├── Interrupted          control flow, not failures
│   ├── Cancelled          the job ends as cancelled
│   └── Preempted          the work goes on elsewhere from its checkpoint
└── Bug                  twice, then failed and dead-lettered (also every exception outside this tree)
    ├── UnreadableTask, UnreadableOutcome, UnwantedOutput, NoVideo, PoisonJob   verdicts on records and jobs
    └── ForeignObject, InvalidTensors   what an event or the store named is refused unread
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from schemas.base import Frozen, OpenEnum, plain_members

LONGEST_MESSAGE = 2000


@plain_members
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


DEAD_LETTER_REASONS = {
    "empty": "the record has no value",
    "unreadable": "its bytes or headers cannot be unpacked: of these alone the dead letter has no original",
    "not_json": "the value is not JSON",
    "not_an_event": "a batch of CloudEvents, or a structured one that cannot be read",
    "missing_header": "a header that every event needs is missing",
    "too_complex": "its JSON has more values than any event",
    "unknown_specversion": "not CloudEvents 1.0",
    "unknown_type": "an event type that this version does not know",
    "invalid_field": "a field is missing or wrong",
    "id_conflict": "this id was accepted before with another body",
    "unexpected_event": "a readable event in a topic where it does not belong",
    "unknown_job": "a cancel for a job of another tenant, or a delete for one that this tenant does not have",
    "unknown_worker": "an operator's command for a worker that is not heard",
    "not_authorised": "nobody who may speak for this tenant has signed it",
    "too_large": "what it led to does not fit into a record",
    "poison_event": "taking it in fails every time",
    "state_missing": "it asks for an ended job whose state cannot be read from the log",
}
"""Why a record is in `dlq`. A job that ended there has the code of its error as its reason instead."""


class ErrorReport(Frozen):
    """An error as it travels in outcomes, job states and completions."""

    kind: ErrorKind
    code: str = Field(description="stable word for programs, such as `invalid_value` or `gpu_out_of_memory`")
    message: str = Field(max_length=LONGEST_MESSAGE, description="plain words for people")
    field: str | None = None
    value: str | None = Field(None, max_length=200)
    limit: str | None = None
    nearest: str | None = Field(None, description="the nearest valid value")

    def brief(self, longest: int) -> ErrorReport:
        """The report with no text of more than so many characters: as it may stay with a job."""
        texts = {name: text[:longest] for name, text in self if isinstance(text, str) and len(text) > longest}
        return self.replace(**texts) if texts else self

    @property
    def retry(self) -> Retry:
        return RETRIES[self.kind]


class LatentlineError(Exception):
    """Root of the tree."""

    kind: ClassVar[ErrorKind] = ErrorKind.BUG
    code: ClassVar[str] = "internal_error"

    def report(self) -> ErrorReport:
        return ErrorReport(kind=self.kind, code=self.code, message=legible(str(self)))


class Transient(LatentlineError):
    """Something is away for a moment."""

    kind = ErrorKind.TRANSIENT
    code = "temporarily_unavailable"


class StoreUnavailable(Transient):
    """The artifact store does not answer: not the job's fault, so no attempt is spent."""

    kind = ErrorKind.INFRASTRUCTURE
    code = "store_unavailable"


class WorkerLost(Transient):
    """A worker vanished with a lease. Counted as a suspicion, not as a failure."""

    kind = ErrorKind.INFRASTRUCTURE
    code = "worker_lost"


class OtherRevision(Transient):
    """The worker has other weights under the model's name: the task goes to another worker, and costs no attempt."""

    kind = ErrorKind.INFRASTRUCTURE
    code = "other_revision"

    def __init__(self, model: str, asked: str, loaded: str) -> None:
        super().__init__(f"{model} is loaded as revision {loaded[:12]}, and the job asks for {asked[:12]}")


class ResourceExhausted(LatentlineError):
    """The device ran out of memory or was lost: another worker may have more."""

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
            kind=self.kind, code=self.code, message=legible(str(self)),
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
    """The job ends as cancelled."""

    code = "cancelled"


class Preempted(Interrupted):
    """The work goes on elsewhere from its checkpoint."""

    code = "preempted"


class Bug(LatentlineError):
    """A fault of ours, or an exception outside the tree."""


class NotTakenIn(Bug):
    """A prompt that was accepted and that the line could not take in: no job came of it."""

    code = "not_taken_in"


class UnreadableTask(Bug):
    """A worker cannot decode a task that is addressed to it, as when it is older than the coordinator."""

    code = "unreadable_task"


class UnreadableOutcome(Bug):
    """A worker's outcome cannot be decoded; its lease is known from the headers."""

    code = "unreadable_outcome"


class UnwantedOutput(Bug):
    """A worker answered with an output that the job does not ask for."""

    code = "unwanted_output"


class NoVideo(Bug):
    """The last stage ended without a video."""

    code = "no_video"


class PoisonJob(Bug):
    """Every worker that started the stage died with it: it is not tried again."""

    code = "poison_job"


class ForeignObject(Bug):
    """A task names an object that is not the output it should read: another tenant's, or none of the line's."""

    code = "foreign_object"


class InvalidTensors(Bug):
    """Bytes that are no safetensors, or whose header promises what they do not hold; refused before memory is taken."""

    code = "invalid_tensors"


def report_of(error: BaseException) -> ErrorReport:
    """The report of any exception; what is outside the tree is a bug, but for a lack of memory."""
    if isinstance(error, LatentlineError):
        return error.report()
    if isinstance(error, MemoryError):
        return ResourceExhausted(str(error) or "out of memory").report()
    return ErrorReport(kind=ErrorKind.BUG, code=Bug.code, message=legible(f"{type(error).__name__}: {error}"))


def legible(text: str) -> str:
    """As long as a report takes, and without halves of characters: a path of another encoding has such."""
    return text[:LONGEST_MESSAGE].encode(errors="replace").decode()


def shorten(value: object, longest: int = 80) -> str:
    """Text is quoted, and cut before that: a prompt may be megabytes."""
    text = repr(value[: longest + 1]) if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
