"""What the core asks the service to do, as values. Changed job states are read off the ledger instead."""

from __future__ import annotations

from typing import NamedTuple

from schemas.catalogue import CatalogueRecord
from schemas.envelope import Headers
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed
from schemas.events.tasks import CancelTask, Drain, Task
from schemas.stage import Stage


class Send(NamedTuple):
    """Put a task or a command into one partition of a stage's inbox topic."""

    stage: Stage
    partition: int
    event: Task | CancelTask | Drain
    traceparent: str | None = None


class Complete(NamedTuple):
    """The one terminal event of a job."""

    event: JobCompleted | JobFailed | JobCancelled
    traceparent: str | None = None


class DeadLetter(NamedTuple):
    """Original bytes and headers, with the reason they could not be used."""

    reason: str
    message: str
    value: bytes | None
    headers: Headers
    origin: str = ""
    key: str | None = None


class Catalogue(NamedTuple):
    """What the catalogue says of a video from now on; None: it is deleted."""

    job: str
    record: CatalogueRecord | None


class Forward(NamedTuple):
    """A delete of a job that nobody here remembers, as it came: who reads the catalogue knows whether there is one."""

    value: bytes
    headers: Headers
    origin: str


class Count(NamedTuple):
    """Something worth a metric that no other effect shows."""

    what: str
    labels: tuple[str, ...] = ()
    amount: float = 1.0


Effect = Send | Complete | DeadLetter | Catalogue | Forward | Count
