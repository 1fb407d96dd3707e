"""Prompts, cancels and deletes: the public events that come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.envelope import Headers
from schemas.errors import InvalidJob
from schemas.events.prompts import CancelRequested, DeleteRequested, PromptSubmitted
from schemas.events.reports import ExpiryDue
from schemas.events.tasks import CancelTask
from schemas.job import JobState, JobStatus
from schemas.limits import recipe_of, retention_of
from schemas.rejected_prompt import RejectedPrompt
from schemas.stage_keys import Identity, stage_keys
from streams.coordinator.core import completion, transitions
from streams.coordinator.core.effects import Catalogue, Count, DeadLetter, Effect, Forward, Send
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.state.tombstone import EndedJob

LARGEST_FORWARDED_BYTES = 4096
"""A delete has an id and a tenant."""


class Raw(NamedTuple):
    """A record as it was read, for the dead-letter topic. `origin` is topic/partition/offset."""

    value: bytes | None = None
    headers: Headers = []
    origin: str = ""

    def dead_letter(self, reason: str, message: str, key: str | None = None) -> DeadLetter:
        return DeadLetter(reason, message, self.value, self.headers, self.origin, key)


def submit(
    ledger: Ledger,
    policy: Policy,
    asked: PromptSubmitted,
    identity: Identity,
    raw: Raw,
    now: float,
    traceparent: str | None = None,
    tokens: Mapping[str, int] | None = None,
) -> list[Effect]:
    """Accept a prompt once: a replay is a no-op, another body under the same id is a conflict.

    A replay of what a release before this one accepted is one, too. Under such an id another body is no conflict: it
    may come from another source. A prompt that its own tenant's cancel has overtaken ends cancelled.
    """
    job = identity.job
    known = ledger.known(job)
    if is_replay(asked, known) or (identity.earlier and is_replay(asked, ledger.known(identity.earlier))):
        return [Count("duplicate", ("prompt",))]
    if known is not None and known.is_submitted:
        return [raw.dead_letter("id_conflict", f"{job} was accepted before with another body", job)]
    state = transitions.new_job(
        job,
        asked.tenant,
        asked.body_digest,
        ledger.acceptance(now),
        priority=asked.priority,
        metadata=asked.metadata,
        exact=asked.exact or None,
        runs=asked.runs or {},
        traceparent=traceparent,
        webhook_url=asked.webhook_url,
        retention=policy.retention_of(asked.tenant),
    )
    try:
        state = state.replace(retention=retention_of(asked) or state.retention)
        recipe = recipe_of(asked, job, policy.bundles, policy.default_model, tokens)
    except InvalidJob as error:
        return [Count("submitted", ("none",)), *completion.fail(ledger, state, error.report(), now)]
    keys = stage_keys(recipe, policy.bundles[recipe.model], job, state.runs)
    state = transitions.with_recipe(state, recipe, keys, now)
    count = Count("submitted", (recipe.model,))
    if known is not None and known.tenant == asked.tenant and known.cancel_reason is not None:
        return [count, *completion.cancel(ledger, state, known.cancel_reason, now)]
    ledger.put(state, now)
    return [count]


def reject(ledger: Ledger, rejected: RejectedPrompt, job: str, letter: DeadLetter, now: float) -> list[Effect]:
    """End a prompt that cannot be taken in as a job that has failed, once, and keep its bytes as a dead letter.

    A job that was accepted under its id before stays what it is.
    """
    known, prompt = ledger.known(job), rejected.prompt
    if known is not None and known.is_submitted:
        is_same = known.body_digest == rejected.body_digest
        return [Count("duplicate", ("prompt",))] if is_same else [letter]
    state = transitions.new_job(
        job, prompt.tenant, rejected.body_digest, ledger.acceptance(now),
        metadata=prompt.metadata if letter.reason == "invalid_field" else {},
        traceparent=rejected.about.traceparent, webhook_url=prompt.webhook_url,
    )  # fmt: skip
    told = [each for each in completion.fail(ledger, state, rejected.error, now) if not isinstance(each, DeadLetter)]
    return [Count("submitted", ("none",)), letter._replace(key=job), *told]


def is_replay(asked: PromptSubmitted, known: JobState | EndedJob | None) -> bool:
    """Whether the job that is known was asked for in the same words."""
    return known is not None and known.is_submitted and asked.has_body(known.body_digest)


def cancel(ledger: Ledger, asked: CancelRequested, raw: Raw, now: float) -> list[Effect]:
    """End a waiting job now; ask the worker of a running one. An ended job stays as it ended.

    Of a job that nobody has submitted yet the wish is kept as long as an ended job is (protocol rule 25).
    """
    state = ledger.known(asked.job)
    if state is None or (not state.is_submitted and state.tenant != asked.tenant):
        # Another tenant's wish for this id, if there is one, is of no use to anybody: only its owner will submit it.
        ledger.put(overtaking(asked, now), now)
        return []
    if state.tenant != asked.tenant:
        return [raw.dead_letter("unknown_job", f"no job {asked.job} of tenant {asked.tenant}", asked.job)]
    if isinstance(state, EndedJob) or state.status.ended:
        return [Count("duplicate", ("cancel",))]
    if state.lease is None:
        return completion.cancel(ledger, state, asked.reason, now)
    ledger.put(state, now, cancel_reason=asked.reason)
    return [cancel_lease(state, asked.reason)]


def overtaking(asked: CancelRequested, now: float) -> JobState:
    state = transitions.new_job(asked.job, asked.tenant, "", now, cancel_reason=asked.reason)
    return transitions.ended(state, JobStatus.CANCELLED, now)


def delete(ledger: Ledger, asked: DeleteRequested, raw: Raw, now: float, whole: JobState | None = None) -> list[Effect]:
    """Forget an ended job now; one that has not ended is cancelled, and forgotten when its end has been told.

    A video may outlive what is remembered of its job: a delete of one that nobody here knows goes to the janitor, who
    knows the catalogue. `whole`: the state of a job whose end is committed (`asks_for` says whose it is), None where it
    cannot be read.
    """
    known = ledger.known(asked.job)
    if known is None or not known.is_submitted:
        return [forwarded(asked, raw)]
    if known.tenant != asked.tenant:
        return [raw.dead_letter("unknown_job", f"no job {asked.job} of tenant {asked.tenant}", asked.job)]
    state = whole if isinstance(known, EndedJob) else known
    if known.status is JobStatus.DELETED or (state is not None and state.deleting):
        return [Count("duplicate", ("delete",))]
    if state is None:
        return [raw.dead_letter("state_missing", f"the state of {asked.job} cannot be read from `jobs`", asked.job)]
    if state.status.ended:
        return forget(ledger, state, now)
    ledger.put(state, now, deleting=True)
    return cancel(ledger, CancelRequested(job=asked.job, tenant=asked.tenant, reason="deleted by the user"), raw, now)


def asks_for(ledger: Ledger, asked: DeleteRequested | ExpiryDue) -> EndedJob | None:
    """The ended job whose whole state `delete` or `expire` needs."""
    known = ledger.known(asked.job)
    if not isinstance(known, EndedJob) or not known.is_submitted or known.status is JobStatus.DELETED:
        return None
    return None if isinstance(asked, DeleteRequested) and known.tenant != asked.tenant else known


def forwarded(asked: DeleteRequested, raw: Raw) -> Effect:
    if len(raw.value or b"") > LARGEST_FORWARDED_BYTES:
        message = f"a delete of {len(raw.value or b'')} bytes: at most {LARGEST_FORWARDED_BYTES}"
        return raw.dead_letter("too_large", message, asked.job)
    return Forward(raw.value or b"", raw.headers, raw.origin)


def expire(ledger: Ledger, due: ExpiryDue, now: float, whole: JobState | None = None) -> list[Effect]:
    """Forget a job whose video has expired by its own state; what the janitor says does not make it so."""
    known = ledger.known(due.job)
    state = whole if isinstance(known, EndedJob) else known
    if known is None or known.status is not JobStatus.COMPLETED or state is None or not is_expired(state, now):
        return [Count("duplicate", ("expiry",))]
    return forget(ledger, state, now)


def is_expired(state: JobState, now: float) -> bool:
    return state.expires_at is not None and state.expires_at <= now


def forget(ledger: Ledger, state: JobState, now: float) -> list[Effect]:
    """Forget an ended job, and take its video out of the catalogue."""
    ledger.put(transitions.deleted(state, now), now)
    return [Catalogue(state.job, None)] if state.video is not None else []


def cancel_lease(state: JobState, reason: str) -> Send:
    """The command that stops the lease a job holds, through the same inbox as its task."""
    lease = state.lease
    assert lease is not None
    command = CancelTask(incarnation=lease.incarnation, lease=lease.number, reason=reason)
    return Send(lease.stage, lease.partition, command, state.traceparent)
