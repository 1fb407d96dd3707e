"""When a failed stage runs again, and when it does not. The error's own `Retry` decides; delays carry jitter."""

from __future__ import annotations

import hashlib

from schemas.errors import RETRIES, ErrorReport
from schemas.job import JobState, StageState

JITTER = 0.25
FAILURE_COSTS_S = 15.0
"""Of a job's age in the queue: more of it would keep a job that was unlucky once waiting for a whole backlog."""
LONGEST_DELAY = (1 + JITTER) * max(rule.longest_delay for rule in RETRIES.values())


def is_exhausted(stage: StageState, error: ErrorReport, max_attempts: int) -> bool:
    """Whether the failure just counted was the last one allowed: of its own kind, so that no kind of trouble uses up
    what another one is allowed. Infrastructure never exhausts a job."""
    if not error.retry.costs_attempt:
        return False
    return failures_of(stage, error) >= min(error.retry.attempts, max_attempts)


def failures_of(stage: StageState, error: ErrorReport) -> int:
    return stage.failures_by_kind.get(error.kind.value, 0)


def delay_of(job: str, stage: StageState, error: ErrorReport, charged: bool = True) -> float:
    """Seconds until the next try: the error's back-off, spread by up to a quarter.

    The jitter is drawn from the job's own history, so the core stays a function of its inputs.
    """
    failures = failures_of(stage, error) if charged and error.retry.costs_attempt else stage.setbacks
    return error.retry.delay(failures) * (1 + JITTER * spread(f"{job}/{stage.key}/{stage.failures}/{stage.setbacks}"))


def is_due(not_before: float, now: float) -> bool:
    """Whether a retry may run. A time further ahead than any delay was set before the clock was set back."""
    return not now < not_before <= now + LONGEST_DELAY


def age_from(state: JobState) -> float:
    """The time from which a waiting job's age counts.

    Each failure makes it a little younger, so that those who came soon after it are tried before it is again: a stage
    that is broken fails several jobs, and opens its breaker, before one of them has used up its attempts.
    """
    stage = state.stage
    failures = state.stages[stage].failures if stage else 0
    return state.accepted_at + FAILURE_COSTS_S * failures


def spread(text: str) -> float:
    """A number in [0, 1) that depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
