"""One event of every type with every field set: what the golden files hold.

The name of an example is its golden file: the event type, then `.2`, `.3`, ... for later revisions of that type.
"""

from __future__ import annotations

from schemas import catalogue, webhooks
from schemas.base import Frozen
from schemas.envelope import type_of
from schemas.errors import ErrorKind, ErrorReport
from schemas.events import artifacts, completions, progress, prompts, reports, tasks, tenants, usage
from schemas.job import Attempt, JobState, JobStatus, Lease, StageState
from schemas.recipe import Encoding, FeatureCache, Recipe, VaeTiling
from schemas.retention import Retention
from schemas.stage import Stage

NOW = 1767225600.5
JOB = "video_00112233445566778899aabbccddeeff"
KEY = "5e" * 32
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

RECIPE = Recipe(
    model="tiny", revision="ab" * 32, prompt="ein roter Kreis bewegt sich, 🔴 →", negative_prompt="blurry", seed=42,
    width=64, height=48, num_frames=17, fps=8, num_inference_steps=12, guidance_scale=3.0, scheduler="unipc",
    flow_shift=3.0, max_sequence_length=16,
    encoding=Encoding(codec="libx264", preset="fast", crf=20, gop_size=24, threads=1),
)  # fmt: skip
ERROR = ErrorReport(
    kind=ErrorKind.INVALID_JOB, code="invalid_value", message="num_frames = 16: must be 4k + 1",
    field="num_frames", value="16", limit="must be 4k + 1 and at most 161", nearest="17",
)  # fmt: skip
ARTIFACT = artifacts.ArtifactRef(
    stage=Stage.DENOISE, key=KEY, manifest_key=f"artifacts/denoise/{KEY}/manifest.json", etag="e1"
)
VIDEO = artifacts.ObjectRef(name="video", key="videos/a.mp4", size=12345, sha256="cd" * 32, media_type="video/mp4")
POSTER = artifacts.ObjectRef(name="poster", key="videos/a.webp", size=678, sha256="ef" * 32, media_type="image/webp")
SPRITESHEET = artifacts.ObjectRef(
    name="spritesheet", key="videos/a.jpg", size=910, sha256="0a" * 32, media_type="image/jpeg"
)
OUTCOME = {"incarnation": "w1-7f", "worker": "w1", "lease": 7, "job": JOB, "stage": Stage.DENOISE, "key": KEY}
END = {
    "job": JOB, "tenant": "acme", "accepted_at": NOW, "ended_at": NOW + 9, "recipe": RECIPE,
    "metadata": {"order": "17"},
    "stages": (
        completions.StageSummary(
            stage=Stage.DENOISE, attempts=2, wait_seconds=0.5, seconds=4.25, wasted_seconds=1.5, worker="w1",
            reused=True, resumed_from_step=6, timings={"compute": 4.0},
        ),
    ),
}  # fmt: skip

FIRST: tuple[Frozen, ...] = (
    prompts.PromptSubmitted(
        prompt="ein roter Kreis bewegt sich, 🔴 →", tenant="acme", idempotency_key="order-17", model="tiny",
        negative_prompt="blurry", size="64x48", seconds=2.0, num_frames=17, fps=8, num_inference_steps=12,
        guidance_scale=3.0, scheduler="unipc", seed=42, priority=5, metadata={"order": "17"},
    ),
    prompts.CancelRequested(job=JOB, tenant="acme", reason="changed my mind"),
    prompts.DeleteRequested(job=JOB, tenant="acme"),
    tasks.Task(
        incarnation="w1-7f", lease=7, job=JOB, tenant="acme", stage=Stage.DENOISE, key=KEY, recipe=RECIPE, attempt=2,
        upstream=ARTIFACT, condemned_etag="e0", metadata={"order": "17"},
    ),
    tasks.CancelTask(incarnation="w1-7f", lease=7, reason="asked by the user"),
    tasks.Drain(incarnation="w1-7f", reason="a newer life of this worker runs", at_once=True),
    reports.Started.model_validate(OUTCOME),
    reports.Done.model_validate(OUTCOME | {
        "artifact": ARTIFACT, "objects": (VIDEO,), "seconds": 4.25, "reused": True, "resumed_from_step": 6,
        "timings": {"compute": 4.0}, "facts": {"frames": 17, "ratio": 0.5, "codec": "h264", "whole": True},
    }),
    reports.Failed.model_validate(OUTCOME | {"error": ERROR, "seconds": 1.5, "log_tail": ("one", "two")}),
    reports.Preempted.model_validate(OUTCOME | {"step": 6, "seconds": 1.5}),
    reports.TaskCancelled.model_validate(OUTCOME | {"seconds": 1.5}),
    reports.InputMissing.model_validate(
        OUTCOME | {"upstream_stage": Stage.ENCODE, "upstream_key": KEY, "etag": "e1", "why": "the digest differs"}
    ),
    reports.Heartbeat(
        incarnation="w1-7f", worker="w1", node="gpu-3", started_at=NOW, slots=1, bundles=("tiny",),
        inboxes=(reports.Inbox(stage=Stage.DENOISE, partition=3, echo=7),),
        leases=(reports.HeldLease(
            lease=7, job=JOB, stage=Stage.DENOISE, state=reports.HeldState.PARKED, step=6, checkpoint_step=4
        ),),
        loaded=("denoise/tiny",), bit_class="cpu/2", draining=True, leaving=True, condition="store_unreachable",
    ),
    reports.Tick(cell=0, coordinator="c1", number=99, after_gap=True),
    reports.DrainRequested(worker="denoise-2", reason="the node gets a new driver"),
    progress.StepProgress(job=JOB, tenant="acme", stage=Stage.DENOISE, lease=7, step=6, steps=12, step_seconds=0.25),
    completions.JobCompleted.model_validate(
        END | {"video": VIDEO, "poster": POSTER, "seconds": 2.125, "bucket": "latentline"}
    ),
    completions.JobFailed.model_validate(END | {"error": ERROR, "stage": Stage.DENOISE}),
    completions.JobCancelled.model_validate(END | {"reason": "changed my mind", "stage": Stage.DENOISE}),
    usage.UsageWindow(
        tenant="acme", window_start=NOW, window_seconds=3600.0, jobs={"completed": 3}, video_seconds=6.375,
        compute_seconds={"denoise": 12.5},
    ),
    tenants.ApiKey(
        id="key_0011223344556677", tenant="acme", digest="0f" * 32, name="website", created_at=NOW, revoked_at=NOW + 9
    ),
    JobState(
        job=JOB, tenant="acme", version=9, status=JobStatus.RUNNING, body_digest="12" * 32, accepted_at=NOW,
        updated_at=NOW + 3, ended_at=NOW + 9, priority=5, recipe=RECIPE, stage=Stage.DENOISE,
        stages={Stage.DENOISE: StageState(
            key=KEY, waiting_since=NOW, not_before=NOW + 1, dispatches=2, failures=1, setbacks=1, suspicions=1,
            artifact=ARTIFACT, condemned_etag="e0", seconds=4.25, wasted_seconds=1.5, wait_seconds=0.5, worker="w1",
            reused=True, resumed_from_step=6, timings={"compute": 4.0},
        )},
        lease=Lease(
            number=7, incarnation="w1-7f", worker="w1", stage=Stage.DENOISE, partition=3, dispatched_at=NOW,
            started_at=NOW + 1,
        ),
        attempts=(Attempt(
            stage=Stage.DENOISE, lease=6, worker="w2", outcome="failed", dispatched_at=NOW, ended_at=NOW + 1,
            seconds=1.5, error=ERROR,
        ),),
        cancel_reason="changed my mind", error=ERROR, video=VIDEO, poster=POSTER, metadata={"order": "17"},
        traceparent=TRACE,
    ),
    webhooks.WebhookEndpoint(
        id="we_" + "12" * 16, tenant="acme", name="shop", url="https://shop.example/hooks",
        event_types=("video.completed", "video.failed"), created_at=NOW, updated_at=NOW + 1, revision=2, generation=2,
        former_secret_until=NOW + 86401,
    ),
    webhooks.EndpointDisabled(endpoint="we_" + "12" * 16, revision=2, at=NOW + 2, reason="it answered 410 Gone"),
    webhooks.WebhookDelivery(
        id="whd_" + "34" * 16, event="evt_" + "56" * 16, type="video.completed", tenant="acme", job=JOB,
        endpoint="we_" + "12" * 16, url="https://shop.example/hooks/17", body='{"type":"video.completed"}',
        created_at=NOW, outcome=webhooks.DeliveryOutcome.PENDING, attempts=1, next_at=NOW + 5,
        log=(webhooks.DeliveryAttempt(at=NOW, seconds=0.25, status=500, error="answered 500"),), test=True,
    ),
    webhooks.DeliveryRequested(
        id="whr_" + "78" * 16, tenant="acme", endpoint="we_" + "12" * 16, at=NOW, delivery="whd_" + "34" * 16,
        type="video.failed",
    ),
    webhooks.TenantSecret(tenant="acme", generation=2, former_secret_until=NOW + 86400),
    reports.ExpiryDue(job=JOB),
    tenants.TenantSettings(
        tenant="acme", retention=Retention.EPHEMERAL, retention_of_earlier=Retention.STANDARD, set_at=NOW
    ),
    catalogue.VideoRecord(
        job=JOB, tenant="acme", body_digest="12" * 32, accepted_at=NOW, completed_at=NOW + 9,
        retention=Retention.STANDARD, expires_at=NOW + 9 + 30 * 86400, model="tiny", size="64x48", duration_s=2.125,
        video=VIDEO, poster=POSTER, spritesheet=SPRITESHEET,
    ),
    catalogue.CatalogueFilled(at=NOW),
    catalogue.CatalogueRecord(
        job=JOB, tenant="acme", body_digest="12" * 32, accepted_at=NOW, completed_at=NOW + 9,
        retention=Retention.STANDARD, expires_at=NOW + 9 + 30 * 86400, model="tiny", size="64x48", duration_s=2.125,
        files={
            "video": catalogue.VideoFile(sha256="cd" * 32, size=12345),
            "poster": catalogue.VideoFile(sha256="ef" * 32, size=678),
            "spritesheet": catalogue.VideoFile(sha256="0a" * 32, size=910),
        },
    ),
)  # fmt: skip

STATE = next(example for example in FIRST if isinstance(example, JobState))
BEAT = next(example for example in FIRST if isinstance(example, reports.Heartbeat))
CACHE = FeatureCache(kind="first_block_cache", threshold=0.1, cache_reset_every=5)
CACHED = RECIPE.model_copy(update={"cache": CACHE})
HAVE_RECIPES = ("task", "job_completed", "job_failed", "job_cancelled")
TILING = VaeTiling(
    tile_sample_min_height=256, tile_sample_min_width=320, tile_sample_stride_height=192, tile_sample_stride_width=240
)
TILED = CACHED.model_copy(update={"vae_tiling": TILING})
RUNS = {Stage.DENOISE: 2}
STARTED_OVER = {"unusable_checkpoint_step": 8}
HOOK = {"webhook_url": "https://shop.example/hooks/17"}


def first(name: str) -> Frozen:
    return next(example for example in FIRST if type_of(type(example)) == f"latentline.{name}.v1")


def started_over(state: Frozen) -> Frozen:
    assert isinstance(state, JobState)
    stages = {stage: record.model_copy(update=STARTED_OVER) for stage, record in state.stages.items()}
    return state.model_copy(update={"stages": stages})


LATER: dict[str, Frozen] = {
    "latentline.heartbeat.v1.2": reports.Heartbeat.model_validate(
        BEAT.model_dump() | {"last_end": "ended by SIGKILL; its log ends with: ..."}
    ),
    "latentline.heartbeat.v1.3": reports.Heartbeat.model_validate(
        BEAT.model_dump() | {"last_end": "ended by SIGKILL; its log ends with: ...", "revisions": {"tiny": "ab" * 32}}
    ),
    "latentline.job_state.v1.2": STATE.model_copy(update={
        "stages": {Stage.DENOISE: StageState.model_validate(
            STATE.stages[Stage.DENOISE].model_dump()
            | {"failures_by_kind": {"bug": 1}, "lost_alone": 1, "checkpoints": {"cpu/2": 6}}
        )},
        "lease": Lease.model_validate(STATE.lease.model_dump() | {"alone": True}) if STATE.lease else None,
        "attempts": tuple(
            Attempt.model_validate(past.model_dump() | {"suspicious": True, "alone": True}) for past in STATE.attempts
        ),
    }),
}  # fmt: skip
LATER |= {
    "latentline.prompt_submitted.v1.2": first("prompt_submitted").model_copy(update={"cache": CACHE}),
    **{f"latentline.{name}.v1.2": first(name).model_copy(update={"recipe": CACHED}) for name in HAVE_RECIPES},
    "latentline.job_state.v1.3": LATER["latentline.job_state.v1.2"].model_copy(update={"recipe": CACHED}),
}
LATER |= {
    "latentline.prompt_submitted.v1.3": first("prompt_submitted").model_copy(
        update={"cache": CACHE, "exact": True, "runs": RUNS}
    ),
    "latentline.task.v1.3": first("task").model_copy(update={"recipe": TILED, "recipe_digest": TILED.digest}),
    **{
        f"latentline.{name}.v1.3": first(name).model_copy(update={"recipe": TILED, "asked": TILED})
        for name in ("job_completed", "job_failed", "job_cancelled")
    },
    "latentline.job_state.v1.4": LATER["latentline.job_state.v1.3"].model_copy(
        update={"recipe": TILED, "asked": TILED, "exact": True, "runs": RUNS, "format": 2}
    ),
}
LATER["latentline.job_state.v1.5"] = LATER["latentline.job_state.v1.4"].model_copy(update={"deleting": True})
LATER |= {
    name.replace(".v1.3", ".v1.4"): example.model_copy(
        update={"stages": tuple(each.model_copy(update=STARTED_OVER) for each in example.stages)}
    )
    for name, example in LATER.items()
    if isinstance(example, completions.Completion) and name.endswith(".v1.3")
}
LATER["latentline.job_state.v1.6"] = started_over(LATER["latentline.job_state.v1.5"])
LATER |= {
    "latentline.job_state.v1.7": LATER["latentline.job_state.v1.6"].model_copy(update={"spritesheet": SPRITESHEET}),
    "latentline.job_completed.v1.5": LATER["latentline.job_completed.v1.4"].model_copy(
        update={"spritesheet": SPRITESHEET}
    ),
    "latentline.step_progress.v1.2": first("step_progress").model_copy(update={"preview_step": 4}),
    "latentline.prompt_submitted.v1.4": LATER["latentline.prompt_submitted.v1.3"].model_copy(update=HOOK),
    **{
        f"latentline.{name}.v1.5": LATER[f"latentline.{name}.v1.4"].model_copy(update=HOOK)
        for name in ("job_failed", "job_cancelled")
    },
}
LATER |= {
    "latentline.job_state.v1.8": LATER["latentline.job_state.v1.7"].model_copy(update=HOOK),
    "latentline.job_completed.v1.6": LATER["latentline.job_completed.v1.5"].model_copy(update=HOOK),
}
LATER["latentline.prompt_submitted.v1.5"] = LATER["latentline.prompt_submitted.v1.4"].model_copy(
    update={"width": 64, "height": 48}
)
LATER["latentline.webhook_endpoint.v1.2"] = first("webhook_endpoint").model_copy(
    update={"event_types": ("video.completed", "video.progress"), "payload": "full"}
)
KEPT = {"retention": Retention.STANDARD, "expires_at": NOW + 9 + 30 * 86400}
LATER |= {
    "latentline.job_state.v1.9": LATER["latentline.job_state.v1.8"].model_copy(
        update=KEPT | {"deleted_at": NOW + 10, "format": 4}
    ),
    "latentline.job_completed.v1.7": LATER["latentline.job_completed.v1.6"].model_copy(
        update={"expires_at": KEPT["expires_at"]}
    ),
    "latentline.prompt_submitted.v1.6": LATER["latentline.prompt_submitted.v1.5"].model_copy(
        update={"retention": "standard"}
    ),
    "latentline.catalogue_record.v1.2": first("catalogue_record").model_copy(
        update={
            "files": {
                "video": catalogue.VideoFile(sha256="cd" * 32, size=12345, key="videos/a.webm", media_type="video/webm")
            }
        }
    ),
}
"""Examples with fields that an event type got later, by the name of their golden file."""
