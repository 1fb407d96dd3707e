"""From what the compute child said to the outcome that is reported, and to the metrics it stands for. No I/O."""

from __future__ import annotations

from runtime import metrics
from schemas.errors import ChildDied
from schemas.events.progress import StepProgress
from schemas.events.reports import Done, Failed, InputMissing, Outcome, Preempted, Started, TaskCancelled
from schemas.stage import Stage
from stages.results import Result
from streams.worker.compute.messages import Ended, FailedWith, Interrupted, Interruption, LostInput, Stepped, Succeeded
from streams.worker.loop.active_tasks import ActiveTask, fields_of


def started(held: ActiveTask, worker: str) -> Started:
    return Started(**fields_of(held.task, worker))


def outcome_of(held: ActiveTask, worker: str, ended: Ended) -> Outcome:
    """The one final outcome of a lease that the child has worked on."""
    fields = fields_of(held.task, worker)
    if isinstance(ended, Succeeded):
        return done(held, worker, ended.result)
    if isinstance(ended, FailedWith):
        return Failed(**fields, error=ended.error, seconds=ended.seconds, log_tail=ended.log_tail)
    if isinstance(ended, LostInput):
        return InputMissing(
            **fields, upstream_stage=Stage(ended.stage), upstream_key=ended.key, etag=ended.etag, why=ended.why
        )
    assert isinstance(ended, Interrupted)
    return interrupted(held, worker, ended.how, ended.step, ended.seconds)


def done(held: ActiveTask, worker: str, result: Result) -> Done:
    return Done(
        **fields_of(held.task, worker), artifact=result.artifact, objects=result.objects, seconds=result.seconds,
        reused=result.reused, resumed_from_step=result.resumed_from_step, timings=dict(result.timings),
        facts=dict(result.facts),
    )  # fmt: skip


def interrupted(
    held: ActiveTask, worker: str, how: Interruption, step: int | None = None, seconds: float = 0.0
) -> Preempted | TaskCancelled:
    fields = fields_of(held.task, worker)
    if how == "cancel":
        return TaskCancelled(**fields, seconds=seconds)
    return Preempted(**fields, step=step, seconds=seconds)


def child_died(held: ActiveTask, worker: str, how: str, lines: tuple[str, ...] = ()) -> Failed:
    """`lines`: the last ones of the child's log."""
    place = "" if held.step is None else f" after step {held.step} of {held.steps}"
    how = f"the compute child was {how}"
    return Failed(**fields_of(held.task, worker), error=ChildDied(f"{how}{place}").report(), log_tail=(*lines, how))


def progress_of(held: ActiveTask, stepped: Stepped) -> StepProgress:
    return StepProgress(
        job=held.task.job, tenant=held.task.tenant, stage=held.task.stage, lease=stepped.lease, step=stepped.step,
        steps=stepped.steps, step_seconds=stepped.seconds, preview_step=held.preview_step,
    )  # fmt: skip


def measure(held: ActiveTask, ended: Ended) -> None:
    """The metrics of a task that has ended."""
    stage, model = held.task.stage, held.task.recipe.model
    metrics.STAGE_DURATION.labels(stage, model, word_of(ended)).observe(ended.seconds)
    metrics.COMPUTE_SECONDS.labels(stage).inc(ended.seconds)
    if isinstance(ended, Succeeded) and ended.result.resumed_from_step:
        metrics.CHECKPOINT_RESUMES.inc()


def word_of(ended: Ended) -> str:
    if isinstance(ended, Succeeded):
        return "reused" if ended.result.reused else "done"
    if isinstance(ended, Interrupted):
        return "cancelled" if ended.how == "cancel" else "preempted"
    return "input_lost" if isinstance(ended, LostInput) else "failed"
