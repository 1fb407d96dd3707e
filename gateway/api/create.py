"""From a request to an accepted job: durable when it is answered, and one job however often it is asked for."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from gateway.api.create_request import CreateVideo
from gateway.dependencies import Gateway
from gateway.problems import Problem, impossible
from gateway.read_model.retried_calls import WINDOW_S
from gateway.read_model.rows import Row
from schemas.base import construct
from schemas.errors import InvalidJob, shorten
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState, JobStatus, StageState
from schemas.limits import recipe_of, retention_of
from schemas.recipe import Recipe, derived_seed
from schemas.stage import STAGES
from schemas.stage_keys import job_id, stage_keys

SHORT = 500
"""Characters whose tokens are counted sooner than another thread would take over."""
KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class RequestContext:
    """Who asks, and what the headers say about how."""

    tenant: str
    key: str | None
    is_retry: bool
    traceparent: str | None

    @classmethod
    def of(cls, request: Request, tenant: str) -> RequestContext:
        """Raises `Problem` for a key that is none."""
        headers = request.headers
        key, trace = headers.get("idempotency-key"), headers.get("traceparent", "")
        if key is not None and not KEY.fullmatch(key):
            raise Problem("invalid_value", "Idempotency-Key has 1 to 256 ASCII characters", "Idempotency-Key")
        is_retry = headers.get("x-stainless-retry-count", "0") != "0"
        return cls(tenant, key, is_retry, trace if TRACEPARENT.fullmatch(trace) else None)


async def create(gateway: Gateway, call: RequestContext, asked: CreateVideo) -> Row:
    """The job, accepted now or before. Raises `Problem`."""
    check_hook(gateway, asked)
    if call.key is None and call.is_retry and not gateway.retries.knows(call.tenant, asked.fingerprint):
        earlier = await run_in_threadpool(find_retried_call, gateway, call.tenant, asked)
        if earlier is not None:
            return earlier
    key = call.key or gateway.retries.key_of(call.tenant, asked.fingerprint, call.is_retry)
    is_new = call.key is None and not call.is_retry
    return await accept(gateway, asked.event(call.tenant, key), call.traceparent, is_new)


def check_hook(gateway: Gateway, asked: CreateVideo) -> None:
    """Raises `Problem` for a `webhook_url` that nothing would be sent to."""
    if asked.webhook_url and (wrong := gateway.gate.problem_with_url(asked.webhook_url)):
        raise Problem("invalid_value", f"webhook_url = {shorten(asked.webhook_url)}: {wrong}", "webhook_url")


def find_retried_call(gateway: Gateway, tenant: str, asked: CreateVideo) -> Row | None:
    """The job that another gateway has made of the call of which this one sees only the retry."""
    try:
        wanted = expected_state(gateway, asked.event(tenant, "unknown"), "unknown")
    except InvalidJob:
        return None
    rows = gateway.model.since(tenant, time.time() - WINDOW_S)
    return next((row for row in rows if is_same(row.state, wanted, asked.seed is None)), None)


def is_same(known: JobState, wanted: JobState, any_seed: bool) -> bool:
    """Whether both were asked for in the same words; an absent seed has become one that derives from the job."""
    if known.recipe is None or wanted.recipe is None or (any_seed and known.recipe.seed != derived_seed(known.job)):
        return False
    recipe = wanted.recipe.model_copy(update={"seed": known.recipe.seed} if any_seed else {})
    asked = (recipe, wanted.metadata, wanted.priority, wanted.webhook_url)
    return (known.recipe, known.metadata, known.priority, known.webhook_url) == asked


async def accept(
    gateway: Gateway, prompt: PromptSubmitted, traceparent: str | None = None, is_new: bool = False
) -> Row:  # fmt: skip
    """`is_new`: its key was made for it, so nobody can know the job yet.

    Raises `Problem`: 400 or 404 for what the line would refuse, 422 for a key that is bound, 503.
    """
    job = job_id(prompt.tenant, prompt.idempotency_key or "")
    model = gateway.settings.default_model
    if len(prompt.prompt) + len(prompt.negative_prompt or "") > SHORT:
        tokens = await run_in_threadpool(gateway.tokens.counts, prompt, model)
    else:
        tokens = gateway.tokens.counts(prompt, model)
    try:
        retention_of(prompt)
        recipe = recipe_of(prompt, job, gateway.bundles, model, tokens)
    except InvalidJob as error:
        raise impossible(error) from None
    async with gateway.lock_of(job):
        known = None if is_new else await run_in_threadpool(gateway.model.find, job)
        if known is not None:
            return replayed(known, prompt)
        expected, ahead = await gateway.intake.create(
            prompt, traceparent, lambda: waiting_state(gateway, prompt, job, recipe)
        )
    return Row(expected, 0, ahead=ahead)


def expected_state(gateway: Gateway, prompt: PromptSubmitted, job: str) -> JobState:
    """What the coordinator will make of it. Raises `InvalidJob`."""
    recipe = recipe_of(prompt, job, gateway.bundles, gateway.settings.default_model)
    return waiting_state(gateway, prompt, job, recipe)


def waiting_state(gateway: Gateway, prompt: PromptSubmitted, job: str, recipe: Recipe) -> JobState:
    now = time.time()
    keys = stage_keys(recipe, gateway.bundles[recipe.model], job)
    return construct(
        JobState, job=job, tenant=prompt.tenant, version=1, status=JobStatus.WAITING, body_digest=prompt.body_digest,
        accepted_at=now, updated_at=now, priority=prompt.priority, recipe=recipe, stage=STAGES[0],
        stages={stage: construct(StageState, key=keys[stage]) for stage in STAGES}, metadata=prompt.metadata,
        webhook_url=prompt.webhook_url,
    )  # fmt: skip


def replayed(known: Row, prompt: PromptSubmitted) -> Row:
    """The job that this key is bound to, if it was asked for in the same words. Raises `Problem` 422."""
    if not prompt.has_body(known.state.body_digest):
        message = "this Idempotency-Key was used before with another body: use a new one for a new video"
        raise Problem("idempotency_key_reused", message, "Idempotency-Key")
    if not known.is_visible:
        message = "the video of this Idempotency-Key was deleted: use a new one to make it again"
        raise Problem("idempotency_key_bound", message, "Idempotency-Key")
    return known
