"""What the feed reads of the record of a job: the columns of its row, and what paces are learned from.

The rest of the record goes into the row unread, and is read with the row. So a gateway that begins with an empty view
is through a hundred thousand jobs in seconds.
"""

from __future__ import annotations

import msgspec

from schemas import envelope
from schemas.job import JobState, JobStatus
from schemas.stage import Stage

TYPE = envelope.type_of(JobState).encode()


class RecipeRecord(msgspec.Struct, gc=False):
    model: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int


class StageRecord(msgspec.Struct, gc=False):
    seconds: float = 0.0
    reused: bool = False
    resumed_from_step: int | None = None


class JobRecord(msgspec.Struct, gc=False):
    """Fields of a `JobState`, with its names. One more is one more line here."""

    job: str
    tenant: str
    version: int
    status: JobStatus
    body_digest: str
    accepted_at: float
    stage: Stage | None = None
    priority: int = 0
    deleting: bool = False
    expires_at: float | None = None
    recipe: RecipeRecord | None = None
    stages: dict[Stage, StageRecord] = {}

    @property
    def is_submitted(self) -> bool:
        """Whether its prompt has come."""
        return self.body_digest != ""


AnyJob = JobState | JobRecord
DECODER = msgspec.json.Decoder(JobRecord)


def read_job(value: bytes, headers: envelope.Headers) -> JobRecord | None:
    """None for what is no state of a job."""
    if ("ce_type", TYPE) not in headers:
        return None
    try:
        return DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
