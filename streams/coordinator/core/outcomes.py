"""What workers report on their leases. An outcome resolves by lease; a result counts if its stage key is wanted."""

from __future__ import annotations

from schemas import store_layout
from schemas.errors import ErrorKind, ErrorReport, NoVideo, UnwantedOutput
from schemas.events.reports import Done, Failed, InputMissing, Outcome, Preempted, Started, TaskCancelled
from schemas.job import JobState
from streams.coordinator.core import completion, oom_fallback, poison, retry, stage_breaker, transitions
from streams.coordinator.core.effects import Count, Effect
from streams.coordinator.core.intake import cancel_lease
from streams.coordinator.core.membership import withdraw_suspicion
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger


def resolve(ledger: Ledger, policy: Policy, outcome: Outcome, now: float) -> list[Effect]:
    """Apply one outcome. Whatever no longer matters is counted and dropped, never applied twice."""
    if not isinstance(outcome, Started):
        ledger.record_outcome(outcome)
    state = ledger.jobs.get(outcome.job)
    if state is None:
        reason = "unwanted" if isinstance(outcome, Done) else "void_lease"
        spent = wasted(reason, outcome) if outcome.job in ledger.ended else []
        return [Count("duplicate", ("outcome",)), *spent]
    if isinstance(outcome, Done):
        return done(ledger, policy, state, outcome, now)
    if state.lease is None or state.lease.number != outcome.lease:
        withdraw_suspicion(ledger, outcome.job, outcome.lease, now)
        return [Count("duplicate", ("outcome",)), *wasted("void_lease", outcome)]
    if isinstance(outcome, Started):
        ledger.put(state, now, lease=state.lease.replace(started_at=now))
        return []
    if isinstance(outcome, Failed):
        return failed(ledger, policy, state, outcome.error, now, outcome.seconds, outcome.log_tail)
    if isinstance(outcome, InputMissing):
        return input_missing(ledger, policy, state, outcome, now)
    return stopped(ledger, state, outcome, now)


def done(ledger: Ledger, policy: Policy, state: JobState, outcome: Done, now: float) -> list[Effect]:
    """Good work is good work, also under a void lease; the lease that it makes needless is cancelled."""
    wanted = transitions.is_output_wanted(state, outcome.stage, outcome.key, outcome.artifact)
    if not wanted or not is_in_place(state, outcome):
        return drop_done(ledger, policy, state, outcome, now)
    effects: list[Effect] = []
    if not outcome.reused:
        effects += stage_breaker.succeeded(ledger, outcome.stage, state, outcome.lease)
    lease = state.lease
    if lease is not None and lease.number != outcome.lease:
        effects.append(cancel_lease(state, "another worker has finished this stage"))
        attempts = transitions.history(state, "superseded", now)
    else:
        attempts = transitions.history(state, "done", now, outcome.seconds)
    maker = ledger.workers.get(outcome.incarnation)
    changes = transitions.accepted_output(state, outcome, attempts, now, maker.beat.bit_class if maker else None)
    if outcome.stage.downstream is None:
        return [*effects, *finish(ledger, policy, state.replace(**changes), outcome, now)]
    if state.cancel_reason is not None:
        return [*effects, *completion.cancel(ledger, state.replace(**changes), state.cancel_reason, now)]
    ledger.put(state, now, **changes)
    return effects


def is_in_place(state: JobState, outcome: Done) -> bool:
    """Whether all that it names lies where this output of this job's tenant belongs: a worker's word is not enough."""
    folder = store_layout.folder(state.tenant, outcome.stage, outcome.key, state.job)
    return store_layout.holds(folder, outcome.artifact.manifest_key, *[ref.key for ref in outcome.objects])


def drop_done(ledger: Ledger, policy: Policy, state: JobState, outcome: Done, now: float) -> list[Effect]:
    """A Done that nobody wants. If its lease is still in force the job must not wait for it for ever."""
    effects: list[Effect] = [Count("duplicate", ("outcome",)), *wasted("unwanted", outcome)]
    if state.lease is None or state.lease.number != outcome.lease:
        return effects
    error = UnwantedOutput("the worker answered with an output that the job does not ask for")
    return [*effects, *failed(ledger, policy, state, error.report(), now, outcome.seconds)]


def finish(ledger: Ledger, policy: Policy, state: JobState, outcome: Done, now: float) -> list[Effect]:
    objects = {ref.name: ref for ref in outcome.objects}
    if "video" not in objects:
        return completion.fail(ledger, state, NoVideo("the last stage gave no video").report(), now)
    return completion.complete(ledger, policy, state, objects, now)


def failed(
    ledger: Ledger, policy: Policy, state: JobState, error: ErrorReport, now: float,
    seconds: float = 0.0, evidence: tuple[str, ...] = (),
) -> list[Effect]:  # fmt: skip
    """Wait and try again, or end, as the error says."""
    assert state.lease is not None
    stage = state.lease.stage
    charged, effects = stage_breaker.failed(ledger, stage, state, state.lease.number, error)
    state = transitions.lease_ended(state, "failed", now, seconds, error)
    state = transitions.failed_attempt(state, stage, error, charged)
    if state.cancel_reason is not None:
        return [*effects, *completion.cancel(ledger, state, state.cancel_reason, now)]
    variant = oom_fallback.smaller(policy, state, stage, error)
    if variant is None and charged and retry.is_exhausted(state.stages[stage], error, policy.max_attempts):
        error = oom_fallback.explained(policy, state, stage, error)
        return [*effects, *completion.fail(ledger, state, error, now, evidence)]
    state = variant or state
    delay = retry.delay_of(state.job, state.stages[stage], error, charged)
    ledger.put(transitions.wait_for(state, stage, now, delay), now)
    return [*effects, Count("retry", (stage, error.code)), Count("wasted", ("failed",), seconds)]


def input_missing(ledger: Ledger, policy: Policy, state: JobState, outcome: InputMissing, now: float) -> list[Effect]:
    """The producing stage runs again: an attempt of that stage, so a loop ends.

    If it already has, or another output is meant, the reading stage does, at the cost of one of its own attempts.
    """
    upstream = outcome.upstream_stage
    record = state.stages.get(upstream)
    message = f"output of {upstream} is lost again and again: {outcome.why}"
    error = ErrorReport(kind=ErrorKind.INPUT_LOST, code="input_lost", message=message[:2000])
    state = transitions.lease_ended(state, "input_lost", now, error=error)
    if state.cancel_reason is not None:
        return completion.cancel(ledger, state, state.cancel_reason, now)
    if record is None or record.artifact is None or record.artifact.etag != outcome.etag:
        again, state = outcome.stage, transitions.failed_attempt(state, outcome.stage, error)
    else:
        again, state = upstream, transitions.condemn(state, upstream, outcome.etag)
    if retry.is_exhausted(state.stages[again], error, policy.max_attempts):
        return completion.fail(ledger, state, error, now)
    ledger.put(transitions.wait_for(state, again, now), now)
    return [Count("retry", (again, "input_lost"))]


def stopped(ledger: Ledger, state: JobState, outcome: Outcome, now: float) -> list[Effect]:
    """Preempted, or cancelled: by the user it ends the job, otherwise the work goes on elsewhere at once."""
    assert state.lease is not None
    preempted = isinstance(outcome, Preempted)
    if isinstance(outcome, Preempted) and (view := ledger.workers.get(outcome.incarnation)):
        state = poison.progressed(state, outcome.stage, view.beat.bit_class, outcome.step)
    seconds = outcome.seconds if isinstance(outcome, Preempted | TaskCancelled) else 0.0
    state = transitions.lease_ended(state, "preempted" if preempted else "cancelled", now, seconds)
    if state.cancel_reason is not None:
        return completion.cancel(ledger, state, state.cancel_reason, now)
    ledger.put(transitions.wait_for(state, outcome.stage, now), now)
    return [Count("retry", (outcome.stage, "preempted" if preempted else "cancelled"))]


def wasted(reason: str, outcome: Outcome) -> list[Effect]:
    seconds = getattr(outcome, "seconds", 0.0)
    return [Count("wasted", (reason,), seconds)] if seconds else []
