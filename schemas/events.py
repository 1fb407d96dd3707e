"""Every event of the line. Times are unix seconds (UTC), durations seconds, sizes bytes.

Public: PromptSubmitted, CancelRequested, DeleteRequested; JobCompleted, JobFailed, JobCancelled; UsageWindow.
Internal: Task, CancelTask, Drain (coordinator to worker); Started, Done, Failed, Preempted, TaskCancelled,
InputMissing, Heartbeat (worker to coordinator); Tick (coordinator to itself); DrainRequested (operator to coordinator);
ExpiryDue (janitor to coordinator); StepProgress; ApiKey, TenantSettings; JobState (schemas.job).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.base import Frozen, OpenEnum, Whole, plain_members
from schemas.bounds import MOST_METADATA
from schemas.digest import digest
from schemas.errors import ErrorReport
from schemas.places import Etag, ObjectKey, Segment
from schemas.printable import one_plain_line, plain_lines
from schemas.recipe import FeatureCache, Recipe
from schemas.retention import Retention
from schemas.stage import STAGES, Stage
from schemas.written import Seed, Text, few, unbroken, without_nulls

LONGEST_URL = 2048
"""Characters."""
MetadataName = Annotated[str, Field(max_length=64), AfterValidator(unbroken), AfterValidator(one_plain_line)]
"""As long as OpenAI takes them: a job carries them through its whole life."""
MetadataValue = Annotated[str, Field(max_length=512, coerce_numbers_to_str=True), AfterValidator(plain_lines)]
Metadata = Annotated[dict[MetadataName, MetadataValue], Field(max_length=MOST_METADATA), few(MOST_METADATA)]
Reason = Annotated[str, Field(max_length=512), AfterValidator(one_plain_line)]
Runs = dict[Stage, Annotated[int, Field(ge=1, lt=2**31)]]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$")]


# -- prompts: the public intake ------------------------------------------------------------------------------


class Asked(Frozen):
    """What others write to the line: a field that is null is unset."""

    @model_validator(mode="before")
    @classmethod
    def _unset(cls, fields: Any) -> Any:
        return without_nulls(fields)


class PromptSubmitted(Asked):
    """Please make a video. Only `prompt` is required; what is unset, or null, becomes the bundle's default."""

    prompt: Text
    tenant: Name = "default"
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=256, description="unset: the event's ce_source and ce_id"
    )
    model: str | None = Field(None, max_length=128)
    negative_prompt: Text | None = None
    size: Text | None = Field(None, description="WIDTHxHEIGHT in pixels", examples=["832x480"])
    width: Whole | None = Field(None, description="with `height`, instead of `size`")
    height: Whole | None = None
    seconds: float | None = Field(None, description="nearest valid frame count to seconds x fps + 1")
    num_frames: Whole | None = Field(None, description="wins over seconds")
    fps: Whole | None = None
    num_inference_steps: Whole | None = None
    guidance_scale: float | None = None
    scheduler: str | None = Field(None, max_length=64)
    cache: Annotated[FeatureCache, BeforeValidator(without_nulls)] | None = Field(
        None, description="faster and less exact; unset: no feature cache"
    )
    seed: Seed | None = Field(None, description="0 to 2^64 - 1; unset, or -1: derived from the job id")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    metadata: Metadata = {}
    exact: bool | None = Field(
        None, description="true: fail where memory is too small, rather than decode in tiles, which changes pixels"
    )
    runs: Annotated[Runs, few(len(STAGES))] | None = Field(
        None, description="run numbers: such a stage, and all after it, take no output from any other run"
    )
    webhook_url: str | None = Field(
        None, max_length=LONGEST_URL, pattern=r"^https?://[\x21-\x7e]+$", description="hears of the end of this job"
    )
    retention: str | None = Field(
        None,
        max_length=32,
        description="ephemeral (1 day), standard (30 days), keep; unset: the tenant's, or standard",
    )

    @property
    def body_digest(self) -> str:
        """Of what was asked beyond the defaults: a field that a later version adds changes no earlier digest."""
        return digest(self._asked())

    def has_body(self, body_digest: str) -> bool:
        """Whether a job with this `body_digest` was asked for in these words, also where an older release took it."""
        return body_digest == self.body_digest or body_digest in self._older_digests()

    def _asked(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)

    def _older_digests(self) -> list[str]:
        """An older release overlooked width and height, and refused a seed of -1, which is unset here."""
        asked = self._asked()
        bodies = [{name: value for name, value in asked.items() if name not in ("width", "height")}]
        if self.seed is None:
            bodies.append(bodies[0] | {"seed": -1})
        return [digest(body) for body in bodies]


class CancelRequested(Asked):
    """Please stop a job. The job still ends in exactly one completion event, whichever won."""

    job: str = Field(pattern=r"^video_[0-9a-f]{32}$")
    tenant: Name = "default"
    reason: Reason = "asked by the user"


class DeleteRequested(Asked):
    """Please forget a job and its video. One that has not ended is cancelled first; the id stays taken."""

    job: str = Field(pattern=r"^video_[0-9a-f]{32}$")
    tenant: Name = "default"


# -- tenants: who may use the gateway --------------------------------------------------------------------------


class ApiKey(Frozen):
    """A key of a tenant. The key itself is shown once, to the person who made it, and is nowhere."""

    id: str = Field(pattern=r"^key_[0-9a-f]{16}$")
    tenant: Name
    digest: str = Field(description="HMAC-SHA256 of the key under the secret of the gateways")
    name: str = Field("", max_length=128, description="what it is for, in its maker's words")
    created_at: float
    revoked_at: float | None = None


class TenantSettings(Frozen):
    """What an operator has set for a tenant."""

    tenant: Name
    retention: Retention | None = Field(None, description="of jobs that name none; unset: the line's, `standard`")
    retention_of_earlier: Retention | None = Field(
        None, description="of videos from before there were classes, counted from `set_at`; unset: they are kept"
    )
    set_at: float


# -- what travels inside events --------------------------------------------------------------------------------


class ObjectRef(Frozen):
    """An object in the store, promised by digest."""

    name: str = Field(description="role in its stage's output, such as `latents` or `video`")
    key: ObjectKey = Field(description="object key in the bucket")
    size: int = Field(ge=0)
    sha256: str
    media_type: str = "application/octet-stream"


class Manifest(Frozen):
    """The small object that makes a stage's output exist. It names its lease, so its etag is unique."""

    stage: Stage
    key: Segment = Field(description="stage key")
    lease: int
    objects: tuple[ObjectRef, ...]
    facts: dict[str, str | int | float | bool] = Field({}, description="what the stage measured or chose")
    bit_class: str = Field("", description="device kind, library versions and threads that made it")
    seconds: float = Field(0.0, ge=0, description="compute seconds")

    def find(self, name: str) -> ObjectRef:
        """Raises `KeyError` if the output has no object of that role."""
        for ref in self.objects:
            if ref.name == name:
                return ref
        raise KeyError(f"{self.stage} {self.key[:12]} has no object {name!r}")


class ArtifactRef(Frozen):
    """A manifest in the store, at one etag."""

    stage: Stage
    key: Segment = Field(description="stage key")
    manifest_key: ObjectKey = Field(description="object key of the manifest")
    etag: Etag


# -- tasks.*: coordinator to one incarnation -------------------------------------------------------------------


class Task(Frozen):
    """A lease: this incarnation may run this stage of this job. `upstream` is the output it reads."""

    incarnation: str
    lease: int = Field(ge=1)
    job: Segment
    tenant: Segment
    stage: Stage
    key: Segment = Field(description="stage key")
    recipe: Recipe
    attempt: int = Field(ge=1)
    upstream: ArtifactRef | None = None
    condemned_etag: Etag | None = Field(None, description="a manifest at this etag is no hit; replace it")
    metadata: dict[str, str] = {}
    recipe_digest: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the recipe is the one that was sent: a release drops the settings that it has never heard of."""
        return self.recipe_digest in (None, self.recipe.digest)


class CancelTask(Frozen):
    """Stop this lease. A worker that has never read the lease remembers that it is void."""

    incarnation: str
    lease: int
    reason: str


class Drain(Frozen):
    """Take no new task; finish or hand over what is held; then leave. `at_once`: another life of this worker runs."""

    incarnation: str
    reason: str
    at_once: bool = False


# -- reports: outcomes and heartbeats ------------------------------------------------------------------------


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


# -- progress --------------------------------------------------------------------------------------------------


class StepProgress(Frozen):
    """Step k of n of a stage; best effort."""

    job: str
    tenant: str
    stage: Stage
    lease: int
    step: int
    steps: int
    step_seconds: float | None = None
    preview_step: int | None = Field(None, description="the step that the preview in the store shows")


# -- completions: the public result, exactly one a job ---------------------------------------------------------


class StageSummary(Frozen):
    stage: Stage
    attempts: int
    wait_seconds: float = Field(ge=0)
    seconds: float = Field(ge=0, description="compute seconds of the accepted attempt")
    wasted_seconds: float = Field(0.0, ge=0, description="compute seconds of attempts that gave nothing")
    worker: str | None = None
    reused: bool = False
    resumed_from_step: int | None = None
    unusable_checkpoint_step: int | None = Field(
        None, description="furthest checkpoint there was, of other bit classes alone: the stage started over"
    )
    timings: dict[str, float] = {}


class Completion(Frozen):
    """What all three ends of a job share. `recipe`, what was served, is absent when the prompt never became one."""

    job: str
    tenant: str
    accepted_at: float
    ended_at: float
    recipe: Recipe | None = None
    asked: Recipe | None = Field(None, description="what was asked for, where `recipe` is a variant of it")
    stages: tuple[StageSummary, ...] = ()
    metadata: dict[str, str] = {}
    webhook_url: str | None = Field(None, description="of the prompt")


class JobCompleted(Completion):
    """The video is in the store, until `expires_at`."""

    video: ObjectRef
    poster: ObjectRef | None = None
    expires_at: float | None = Field(None, description="unset: it is kept until somebody deletes it")
    spritesheet: ObjectRef | None = Field(None, description="jpeg: small frames of the video, 5 a row")
    seconds: float = Field(description="duration of the video")
    bucket: str


class JobFailed(Completion):
    """No video: `error` says why, and what would be valid."""

    error: ErrorReport
    stage: Stage | None = None


class JobCancelled(Completion):
    """No video: somebody asked for the job to stop."""

    reason: str
    stage: Stage | None = None


# -- usage -----------------------------------------------------------------------------------------------------


class UsageWindow(Frozen):
    """Usage of a tenant in one tumbling window, republished as it grows."""

    tenant: str
    window_start: float
    window_seconds: float
    jobs: dict[str, int] = Field({}, description="ended jobs by outcome")
    video_seconds: float = 0.0
    compute_seconds: dict[str, float] = Field({}, description="by stage")
