"""The compute child of a simulated worker: one task after the other, step by step, against a simulated store."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from schemas import store_layout
from schemas.base import construct
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.reports import Done, Failed, InputMissing, Outcome, Preempted, TaskCancelled
from schemas.events.tasks import Task
from schemas.stage import Stage
from streams.worker.loop.active_tasks import ActiveTask, fields_of

if TYPE_CHECKING:
    from tests.sim.machine import Machine

STEPS = {Stage.ENCODE: 1, Stage.DECODE: 4, Stage.MUX: 1}
STEP_SECONDS = 0.5
CHECKPOINT_STEPS = 4
BIT_CLASS = "sim"


class Child:
    """`busy`: the lease that it works on; the others wait."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._around, self._name = machine, machine.around, machine.name
        self._queue: deque[int] = deque()
        self.busy: int | None = None

    def run(self, lease: int) -> None:
        self._queue.append(lease)
        self._begin_next()

    def release(self, lease: int) -> None:
        """If it was at this lease it is free for the next one."""
        if self.busy == lease:
            self.busy = None
            self._begin_next()

    def forget(self) -> None:
        self.busy = None
        self._queue.clear()

    def _begin_next(self) -> None:
        if self.busy is None and self._queue:
            self.busy = self._queue.popleft()
            self._begin(self._machine.lease(self.busy))

    def _begin(self, held: ActiveTask) -> None:
        task = held.task
        found = self._around.store.hit(task)
        if held.interruption is not None:
            self._end(held, interrupted(held, self._name))
        elif not self._machine.has_store:
            self._end(held, Failed(**fields_of(task, self._name), error=error_of(ErrorKind.INFRASTRUCTURE)))
        elif found is not None:
            self._end(held, self.done(held, found, reused=True))
        elif task.upstream is not None and not self._can_read(task.upstream, task):
            self._end(held, lost_input(held, self._name, task.upstream))
        else:
            start = self._around.store.checkpoints.get((task.key, BIT_CLASS), 0) if task.stage is Stage.DENOISE else 0
            self._work(self._machine.change(task.lease, step=start, steps=self._steps(task), step_seconds=STEP_SECONDS))

    def _end(self, held: ActiveTask, outcome: Outcome) -> None:
        self._machine.end(held, outcome)

    def _steps(self, task: Task) -> int:
        return STEPS.get(task.stage) or self._around.plan_of(task.job).steps

    def _can_read(self, upstream: ArtifactRef, task: Task) -> bool:
        if self._around.plan_of(task.job).rots is upstream.stage:
            self._around.store.lose(upstream.key)
        return self._around.store.is_readable(upstream)

    def _work(self, held: ActiveTask) -> None:
        """Go on to the next step, or to the end, or to ruin."""
        task, step = held.task, held.step or 0
        if self._around.plan_of(task.job).kills == (task.stage, step):
            self._around.killed_by(task, self._machine)
        elif held.interruption is not None:
            self._stop(held)
        elif step >= (held.steps or 0):
            self._finish(held)
        else:
            self._machine.later(STEP_SECONDS, lambda: self._stepped(task.lease, step + 1))

    def _stepped(self, lease: int, step: int) -> None:
        if self.busy != lease:
            return
        held = self._machine.change(lease, step=step)
        self._around.computed(held.task, STEP_SECONDS)
        if held.task.stage is Stage.DENOISE and step % CHECKPOINT_STEPS == 0 and self._machine.has_store:
            self._checkpoint(held)
        self._machine.press_to_leave()
        self._work(self._machine.lease(lease))

    def _checkpoint(self, held: ActiveTask) -> ActiveTask:
        step = held.step or 0
        self._around.store.save_checkpoint(held.task.key, BIT_CLASS, step)
        return self._machine.change(held.task.lease, checkpoint_step=step)

    def _stop(self, held: ActiveTask) -> None:
        is_worth_keeping = held.task.stage is Stage.DENOISE and held.step and self._machine.has_store
        if held.interruption == "preempt" and is_worth_keeping:
            held = self._checkpoint(held)
        self._end(held, interrupted(held, self._name))

    def _finish(self, held: ActiveTask) -> None:
        error = self._around.takes_failure(held.task)
        if error is not None:
            self._end(held, Failed(**fields_of(held.task, self._name), error=error, seconds=1.0))
        elif self._machine.has_store:
            self._end(held, self.published(held))
        else:
            self._park(held)

    def _park(self, held: ActiveTask) -> None:
        """The device goes on to the next task."""
        self.busy = None
        self._machine.park(held)
        self._begin_next()

    def published(self, held: ActiveTask) -> Done:
        return self.done(held, self._around.store.publish(held.task), reused=False)

    def done(self, held: ActiveTask, ref: ArtifactRef, reused: bool) -> Done:
        place = ref.manifest_key.removesuffix(store_layout.MANIFEST)
        video = construct(ObjectRef, name="video", key=f"{place}v", size=1, sha256="0")
        objects = (video,) if held.task.stage is Stage.MUX else ()
        return construct(
            Done, **fields_of(held.task, self._name), artifact=ref, objects=objects, reused=reused,
            seconds=0.0 if reused else self._steps(held.task) * STEP_SECONDS,
        )  # fmt: skip


def interrupted(held: ActiveTask, worker: str) -> Outcome:
    fields = fields_of(held.task, worker)
    if held.interruption == "cancel":
        return TaskCancelled(**fields)
    return Preempted(**fields, step=held.checkpoint_step)


def lost_input(held: ActiveTask, worker: str, ref: ArtifactRef) -> InputMissing:
    fields = fields_of(held.task, worker)
    return InputMissing(**fields, upstream_stage=ref.stage, upstream_key=ref.key, etag=ref.etag, why="gone")


def error_of(kind: ErrorKind) -> ErrorReport:
    return ErrorReport(kind=kind, code=f"sim_{kind}", message="as planned")
