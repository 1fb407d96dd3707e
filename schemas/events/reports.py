"""What workers, operators, the janitor and the coordinator's own clock tell the coordinator."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen, OpenEnum, plain_members
from schemas.errors import ErrorReport
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.prompts import Reason
from schemas.field_types import Name
from schemas.stage import Stage
from schemas.store_layout import Etag, Segment


class Outcome(Frozen):
    """What became of a lease."""

    incarnation: str
    worker: str
    lease: int
    job: Segment
    stage: Stage
    key: Segment


class Started(Outcome):
    """The worker has begun; the lease is its to lose."""


class Done(Outcome):
    """The stage's output exists: `artifact` is the manifest that was accepted, ours or an earlier one."""

    artifact: ArtifactRef
    objects: tuple[ObjectRef, ...] = Field((), description="the objects of the accepted manifest")
    seconds: float = Field(ge=0, description="compute seconds of this lease")
    reused: bool = Field(False, description="the manifest was there already: nothing was computed")
    resumed_from_step: int | None = Field(None, description="denoise step of the checkpoint it went on from")
    timings: dict[str, float] = Field({}, description="seconds by part: get, compute, put, hash, ...")
    facts: dict[str, str | int | float | bool] = {}


class Failed(Outcome):
    """The attempt failed; its error says whether and where the stage runs again."""

    error: ErrorReport
    seconds: float = Field(0.0, ge=0)
    log_tail: tuple[str, ...] = Field((), max_length=50)


class Preempted(Outcome):
    """The worker gives the lease back unfinished; the work goes on elsewhere from its checkpoint."""

    step: int | None = Field(None, description="last step that a durable checkpoint holds")
    seconds: float = Field(0.0, ge=0)


class TaskCancelled(Outcome):
    """The worker has stopped as it was told to."""

    seconds: float = Field(0.0, ge=0)


class InputMissing(Outcome):
    """The upstream output at this etag is gone or corrupt: its stage must run again."""

    upstream_stage: Stage
    upstream_key: str
    etag: Etag
    why: str


class Inbox(Frozen):
    """Where a worker reads the tasks of one stage, and the highest lease number it has read there."""

    stage: Stage
    partition: int = Field(ge=0)
    echo: int = Field(0, ge=0)


@plain_members
class HeldState(OpenEnum):
    RUNNING = "running"
    PARKED = "parked"
    ENDING = "ending"
    UNKNOWN = "unknown"


class HeldLease(Frozen):
    lease: int
    job: str
    stage: Stage
    state: HeldState
    step: int | None = None
    checkpoint_step: int | None = None


class Heartbeat(Frozen):
    """Everything a worker holds and offers; every few seconds and on change."""

    incarnation: str
    worker: str = Field(description="stable name; a newer incarnation supersedes an older one")
    node: str
    started_at: float = Field(description="of this incarnation; decides which of two lives is newer")
    inboxes: tuple[Inbox, ...]
    slots: int = Field(ge=0, description="capacity over all stages; 0 = not ready")
    leases: tuple[HeldLease, ...] = ()
    bundles: tuple[str, ...] = Field((), description="models it can run")
    loaded: tuple[str, ...] = Field((), description="stage/model pairs warm in the child")
    revisions: dict[str, str] = Field(
        {}, description="revision of each model that is loaded; a worker of an earlier release says none"
    )
    bit_class: str = ""
    draining: bool = False
    leaving: bool = Field(False, description="last words: this incarnation ends now, orderly")
    condition: str = Field("ready", description="ready, starting, store_unreachable, disk_full, ...")
    last_end: str | None = Field(
        None, max_length=2000, description="how this worker's former life ended, as its supervisor saw it"
    )


class Tick(Frozen):
    """The coordinator's own clock, read back through `reports`: ages count in ticks, one a second.

    `after_gap`: the coordinator has just begun, or was away for longer than a tick; grace starts over.
    """

    cell: int
    coordinator: str
    number: int
    after_gap: bool = False


class DrainRequested(Frozen):
    """An operator wants a worker to leave: it finishes or hands over what it holds, and ends with exit code 0."""

    worker: Name
    reason: Reason = "asked by an operator"


class ExpiryDue(Frozen):
    """The janitor's index says that a video has expired; the coordinator looks whether it has, and deletes its job."""

    job: Segment
