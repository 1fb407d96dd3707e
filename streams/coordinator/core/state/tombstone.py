"""What stays in memory of an ended job: the deduplication tombstone by which it is known again.

Its whole state stands in `jobs` at `offset`. It is read from there when something asks for more than this, so a job
that has ended costs some hundred bytes here, and a takeover reads a few fields of each record.
"""

from __future__ import annotations

import sys
from operator import attrgetter

import msgspec

from schemas.errors import ErrorKind
from schemas.job import FORMAT, JobState, JobStatus, StateTooNew
from schemas.stage import Stage

NO_OFFSET = -1
"""Of a state whose place in the log is not known."""


class UnreadableState(ValueError):
    """The bytes are no state of a job."""


class Common(msgspec.Struct, gc=False):
    """Fields of a `JobState` that are kept of an ended job as they are. One more is one more line here."""

    job: str
    tenant: str
    version: int
    status: JobStatus
    body_digest: str
    updated_at: float
    ended_at: float | None = None
    deleted_at: float | None = None

    @property
    def is_submitted(self) -> bool:
        """Whether its prompt has come. If not, this is what a cancel left that overtook it (protocol rule 25)."""
        return self.body_digest != ""


class PastError(msgspec.Struct, gc=False):
    kind: ErrorKind


class PastLease(msgspec.Struct, gc=False):
    """What replay reads of an `Attempt`."""

    stage: Stage
    lease: int
    outcome: str
    ended_at: float
    error: PastError | None = None


class JobRecord(Common, gc=False):
    """What replay reads of the record of any job. The rest is skipped unread: a twentieth of the whole's cost."""

    cancel_reason: str | None = None
    attempts: tuple[PastLease, ...] = ()
    format: int = 1


class EndedJob(Common, gc=False, kw_only=True):
    """An ended job in memory. `newest_lease` is 0 where it never held one."""

    cancel_reason: str | None
    """Of one whose prompt has not come: it will end by this."""
    newest_lease: int
    offset: int


COMMON = attrgetter(*Common.__struct_fields__)
RECORDS = msgspec.json.Decoder(JobRecord)


def read_record(value: bytes) -> JobRecord:
    """Raises `UnreadableState`, and `StateTooNew` for one that this release must not carry on."""
    try:
        record = RECORDS.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableState(str(error)) from None
    if record.format > FORMAT:
        raise StateTooNew(record.job, record.format)
    return record


def ended_job(job: JobState | JobRecord, offset: int = NO_OFFSET) -> EndedJob:
    """The same of a state in memory as of its record."""
    kept = EndedJob(
        *COMMON(job),
        cancel_reason=None if job.is_submitted else job.cancel_reason,
        newest_lease=newest_lease(job),
        offset=offset,
    )
    kept.tenant = sys.intern(kept.tenant)
    return kept


def retention_start(job: JobState | Common) -> float:
    """From when on an ended job is remembered: Unix time, in seconds. A deleted one must be until it is erased."""
    return job.deleted_at or job.ended_at or job.updated_at


def newest_lease(job: JobState | JobRecord | EndedJob) -> int:
    """0 where it never held one. Of a job that has ended: all its leases are past."""
    if isinstance(job, EndedJob):
        return job.newest_lease
    return max((past.lease for past in job.attempts), default=0)
