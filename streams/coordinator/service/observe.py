"""What a committed turn adds to metrics and logs. Called after the commit alone: an aborted turn never happened."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable

import structlog
from structlog.stdlib import BoundLogger

from runtime import metrics
from runtime.logs import trace_id
from schemas.events.completions import JobCompleted, JobFailed
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage
from streams.coordinator.core.effects import Complete, Count, DeadLetter, Effect
from streams.coordinator.core.standstill import Standstill
from streams.coordinator.core.state.ledger import Ledger, WorkerView
from streams.kafka.topics import REPORTS

LATELY_S, REMEMBERED = 600.0, 1000
"""For how long a dead letter of ours stays a warning, and how many are counted."""

log = structlog.get_logger(__name__)


class Observer:
    """Keeps the jobs that have not ended, so that gauges cost what is alive and not what ever was."""

    def __init__(self) -> None:
        self.alive: dict[str, JobState] = {}
        self.standstill = Standstill()
        self.dead_reports: deque[float] = deque(maxlen=REMEMBERED)
        """When reports were dead-lettered, monotonic seconds."""
        # Set up once: the module's logger is set up anew for each line, which is a tenth of its cost.
        self._log: BoundLogger = log.bind()

    def load(self, states: Iterable[JobState]) -> None:
        self.alive = {state.job: state for state in states if not state.status.ended}

    def committed(self, effects: Iterable[Effect], states: Iterable[JobState]) -> None:
        for state in states:
            self._note(state)
        for effect in effects:
            if isinstance(effect, Count):
                count(effect)
                if effect.what == "waited":
                    self.standstill.dispatched(Stage(effect.labels[0]), time.monotonic())
            elif isinstance(effect, Complete):
                completed(effect)
            elif isinstance(effect, DeadLetter):
                self._dead_lettered(effect)
                log.warning("dead letter", reason=effect.reason, why=effect.message[:500], origin=effect.origin)

    def _dead_lettered(self, letter: DeadLetter) -> None:
        topic, reason = letter.origin.partition("/")[0], metrics.DEAD_LETTER_REASON.of(letter.reason)
        metrics.DEAD_LETTERS.labels(metrics.DEAD_LETTER_TOPIC.of(topic), reason).inc()
        if topic == REPORTS.name:
            self.dead_reports.append(time.monotonic())

    def warnings(self, now: float) -> list[str]:
        """What an operator has to see to though the coordinator itself gets on. `now`: monotonic seconds."""
        lately = sum(now - at < LATELY_S for at in [*self.dead_reports])
        letters = f"{lately} reports were dead-lettered in the last {LATELY_S / 60:.0f} minutes: `latentline dlq list`"
        return [*self.standstill.unserved_words(now), *([letters] if lately else [])]

    def _note(self, state: JobState) -> None:
        if not state.is_submitted:
            log.info("a cancel waits for its prompt", job=state.job, tenant=state.tenant)
            return
        before = self.alive.get(state.job)
        if state.status.ended:
            self.alive.pop(state.job, None)
        else:
            self.alive[state.job] = state
        log_change(self._log, before, state)

    def gauges(self, ledger: Ledger) -> None:
        waiting: Counter[str] = Counter()
        running: Counter[str] = Counter()
        oldest: dict[str, float] = {}
        for state in self.alive.values():
            if state.stage is not None:
                (running if state.status is JobStatus.RUNNING else waiting)[state.stage] += 1
                oldest[state.stage] = min(oldest.get(state.stage, state.accepted_at), state.accepted_at)
        now, clock = time.time(), time.monotonic()
        self.standstill.look(ledger, self.alive.values, clock, now)
        for stage in STAGES:
            metrics.STANDSTILL.labels(stage).set(self.standstill.idle_seconds(stage, clock))
            metrics.UNSERVED.labels(stage).set(self.standstill.unserved_seconds(stage, clock))
            metrics.JOBS_WAITING.labels(stage).set(waiting[stage])
            metrics.JOBS_RUNNING.labels(stage).set(running[stage])
            metrics.OLDEST_JOB_AGE.labels(stage).set(max(now - oldest[stage], 0.0) if stage in oldest else 0.0)
        seen = Counter(worker_state(view) for view in ledger.workers.values())
        for word in metrics.SEEN_WORKERS.values:
            metrics.WORKERS.labels(word).set(seen[word])
        for stage in STAGES:
            breaker = ledger.breakers.get(stage)
            metrics.STAGE_BREAKER_OPEN.labels(stage).set(breaker is not None and breaker.is_open)


def worker_state(view: WorkerView) -> str:
    if view.is_leaving:
        return "draining"
    if view.beat.slots == 0:
        return "unready"
    return "ready" if view.free else "busy"


def count(effect: Count) -> None:
    labels = effect.labels
    if effect.what == "duplicate":
        metrics.DUPLICATES_SUPPRESSED.labels(metrics.DUPLICATE.of(labels[0])).inc()
    elif effect.what == "submitted":
        metrics.JOBS_SUBMITTED.labels(labels[0]).inc()
    elif effect.what == "retry":
        metrics.RETRIES.labels(labels[0], metrics.RETRY_REASON.of(labels[1])).inc()
    elif effect.what == "wasted":
        metrics.WASTED_SECONDS.labels(metrics.WASTE_REASON.of(labels[0])).inc(effect.amount)
    elif effect.what == "breaker":
        log.warning(f"the breaker of a stage has {labels[1]}", stage=labels[0])
    elif effect.what == "waited":
        metrics.QUEUE_WAIT.labels(labels[0]).observe(effect.amount)


def completed(effect: Complete) -> None:
    event = effect.event
    error = event.error if isinstance(event, JobFailed) else None
    model = event.recipe.model if event.recipe else "none"
    outcome = "completed" if isinstance(event, JobCompleted) else "failed" if error else "cancelled"
    metrics.JOBS_FINISHED.labels(outcome, metrics.fault_of(error), model).inc()
    metrics.JOB_DURATION.labels(model, outcome).observe(event.ended_at - event.accepted_at)
    if isinstance(event, JobCompleted):
        metrics.VIDEO_SECONDS.labels(model).inc(event.seconds)


def log_change(log: BoundLogger, before: JobState | None, state: JobState) -> None:
    """One line a step of a job that an operator would ask about."""
    lease, past = state.lease, before.lease if before else None
    about = log.bind(job=state.job, stage=state.stage, trace_id=trace_id(state.traceparent))
    if before is None:
        about.info("job accepted", tenant=state.tenant)
    if lease is not None and (past is None or past.number != lease.number):
        about.info("dispatched", lease=lease.number, worker=lease.worker, attempt=state.stages[lease.stage].dispatches)
    if past is not None and (lease is None or lease.number != past.number) and state.attempts:
        last = state.attempts[-1]
        say = about.info if last.outcome == "done" else about.warning
        say("lease ended", stage=last.stage, lease=last.lease, worker=last.worker, outcome=last.outcome,
            error=last.error.message[:300] if last.error else None)  # fmt: skip
    if state.status.ended:
        seconds = round((state.ended_at or state.updated_at) - state.accepted_at, 3)
        about.info(f"job {state.status}", seconds=seconds, error=state.error.message[:300] if state.error else None)
