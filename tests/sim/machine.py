"""A simulated worker that keeps the protocol: the phases of `streams.worker`, on virtual time and a simulated store."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from schemas import places
from schemas.errors import ErrorKind, ErrorReport
from schemas.events import (
    ArtifactRef,
    CancelTask,
    Done,
    Drain,
    Failed,
    Heartbeat,
    Inbox,
    InputMissing,
    ObjectRef,
    Outcome,
    Preempted,
    Started,
    Task,
    TaskCancelled,
)
from schemas.stage import STAGES, Stage
from streams.worker.held import Held, HeldLeases, Phase, fields_of
from tests.sim.logs import Logs, Order
from tests.sim.loop import Loop
from tests.sim.scenario import DRAIN_GRACE, JobPlan
from tests.sim.store import Store

STEPS = {Stage.ENCODE: 1, Stage.DECODE: 4, Stage.MUX: 1}
STEP_SECONDS = 0.5

CHECKPOINT_STEPS = 4
WARM_AFTER, LEAVING_MARGIN = 1.0, 4.0
BIT_CLASS = "sim"


class Surroundings(Protocol):
    """What a worker meets."""

    loop: Loop
    logs: Logs
    store: Store
    chance: random.Random
    inbox_partitions: int
    spools: defaultdict[str, dict[int, Task]]
    """By worker name: the finished tasks on its disk, by lease."""
    beat_seconds: float

    def latency(self) -> float: ...

    def plan_of(self, job: str) -> JobPlan: ...

    def takes_failure(self, task: Task) -> ErrorReport | None:
        """The error in which this run of the task ends, if it is one that fails."""

    def report(self, event: Outcome | Heartbeat) -> None: ...

    def killed_by(self, task: Task, machine: Machine) -> None: ...

    def computed(self, task: Task, seconds: float) -> None: ...


class Machine:
    """One life of a worker. What it says goes out in order; nothing is said once it is dead."""

    def __init__(self, around: Surroundings, name: str, node: str, life: int, slots: int) -> None:
        self.around, self.name, self.node, self.slots = around, name, node, slots
        self.incarnation, self.started_at = f"{name}.{life}", around.loop.now
        self.alive, self.warm = True, False
        self.held = HeldLeases()
        self.queue: deque[int] = deque()
        self.busy: int | None = None
        self.resumes_at = self.reached_at = self.store_at = self._sent_until = 0.0
        self.stalled_until = dict.fromkeys(STAGES, 0.0)
        self.draining_until: float | None = None
        self._beating = False
        self._kept_beat: Heartbeat | None = None
        self._open_inboxes()
        self.spool = around.spools[name]
        for task in self.spool.values():
            self.held.take(task.model_copy(update={"incarnation": self.incarnation}), None, Phase.PARKED)
        self._look_into_spool()
        self.beat()
        self._every_beat()
        self.later(WARM_AFTER, self._warm_up)

    def __repr__(self) -> str:
        return self.incarnation

    # -- time ----------------------------------------------------------------------------------------------------

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """While the machine is stopped nothing happens on it; then what is due does, in its order."""
        self.around.loop.after(seconds, partial(self._do, act))

    def _do(self, act: Callable[[], None]) -> None:
        if self.alive and self.around.loop.now < self.resumes_at:
            self.around.loop.at(self.resumes_at, partial(self._do, act))
        elif self.alive:
            act()

    def pause(self, seconds: float) -> None:
        self.resumes_at = max(self.resumes_at, self.around.loop.now + seconds)

    def cut_off(self, seconds: float) -> None:
        self.reached_at = max(self.reached_at, self.around.loop.now + seconds)

    def lose_store(self, seconds: float) -> None:
        self.store_at = max(self.store_at, self.around.loop.now + seconds)
        self.beat()
        self.later(seconds, self.beat)

    @property
    def has_store(self) -> bool:
        return self.around.loop.now >= self.store_at

    def die(self) -> None:
        self.alive = False

    # -- what it says --------------------------------------------------------------------------------------------

    def _say(self, event: Outcome | Heartbeat, delivered: Callable[[], None]) -> None:
        now = self.around.loop.now
        self._sent_until = max(now + self.around.latency(), self._sent_until)
        self.later(self._sent_until - now, lambda: self._deliver(event, delivered))

    def _deliver(self, event: Outcome | Heartbeat, delivered: Callable[[], None]) -> None:
        wait = self.reached_at - self.around.loop.now
        if wait > 0:
            return self.later(wait, lambda: self._deliver(event, delivered))
        self.around.report(event)
        self.later(self.around.latency(), delivered)

    def _every_beat(self) -> None:
        self.beat()
        self.later(self.around.beat_seconds, self._every_beat)

    def beat(self, leaving: bool = False) -> None:
        """At most one is undelivered; of those behind it the newest is kept."""
        inboxes = tuple(Inbox(stage=s, partition=self.partition, echo=self.echo[s]) for s in STAGES)
        beat = Heartbeat(
            incarnation=self.incarnation, worker=self.name, node=self.node, started_at=self.started_at,
            inboxes=inboxes, slots=self.slots if self.warm and self.has_store else 0, leases=self.held.listed(),
            bundles=("tiny",), bit_class=BIT_CLASS, draining=self.draining_until is not None, leaving=leaving,
        )  # fmt: skip
        if self._beating:
            self._kept_beat = beat
        else:
            self._beating = True
            self._say(beat, self._beat_delivered)

    def _beat_delivered(self) -> None:
        beat, self._kept_beat = self._kept_beat, None
        self._beating = beat is not None
        if beat is not None:
            self._say(beat, self._beat_delivered)

    # -- what it is told -----------------------------------------------------------------------------------------

    def _open_inboxes(self) -> None:
        """Each is read from where it ends now."""
        logs = self.around.logs
        self.partition = self.around.chance.randrange(self.around.inbox_partitions)
        self.echo = dict.fromkeys(STAGES, 0)
        self._next = {stage: len(logs.inboxes[stage, self.partition]) for stage in STAGES}
        for stage in STAGES:
            logs.readers[stage, self.partition].append(self)

    @property
    def is_over(self) -> bool:
        return not self.alive

    def position(self, stage: Stage) -> int:
        return self._next[stage]

    def grew(self, stage: Stage) -> None:
        if self.alive:
            self.later(self.around.latency(), lambda: self._read(stage))

    def _read(self, stage: Stage) -> None:
        wait = max(self.stalled_until[stage], self.reached_at) - self.around.loop.now
        if wait > 0:
            return self.later(wait, lambda: self._read(stage))
        log = self.around.logs.inboxes[stage, self.partition]
        while self.alive and self._next[stage] < len(log):
            order = log[self._next[stage]]
            self._next[stage] += 1
            self.echo[stage] = max(self.echo[stage], getattr(order, "lease", 0))
            if order.incarnation == self.incarnation:
                self._obey(order)

    def _obey(self, order: Order) -> None:
        if isinstance(order, Task):
            self._take(order)
        elif isinstance(order, CancelTask):
            self._interrupt(order.lease, "cancel")
        elif isinstance(order, Drain):
            self.drain(0.0 if order.at_once else DRAIN_GRACE)

    def _take(self, task: Task) -> None:
        if task.lease in self.held:
            return
        held = self.held.take(task, None)
        if self.draining_until is not None:
            self._end(held, interrupted(held, self.name))
        else:
            self._say(Started(**fields_of(task, self.name)), lambda: self._counted(task.lease))

    def _counted(self, lease: int) -> None:
        """Its Started is acknowledged: now the child may have it."""
        held = self.held.get(lease)
        if held is None or held.phase is not Phase.ANNOUNCED:
            return
        held = self._change(lease, phase=Phase.COUNTED)
        if held.interruption is not None:
            self._end(held, interrupted(held, self.name))
        elif self.warm:
            self._hand_over(lease)

    def _hand_over(self, lease: int) -> None:
        self._change(lease, phase=Phase.RUNNING)
        self.queue.append(lease)
        self._begin_next()

    def _interrupt(self, lease: int, how: Any) -> None:
        held = self.held.get(lease)
        if held is None or held.phase is Phase.ENDING or held.interruption is not None:
            return
        held = self._change(lease, interruption=how)
        if held.phase is Phase.COUNTED or (held.phase is Phase.PARKED and how == "cancel"):
            self._end(held, interrupted(held, self.name))

    def _change(self, lease: int, **changes: object) -> Held:
        held = self.held.change(lease, **changes)
        assert held is not None
        return held

    def _end(self, held: Held, outcome: Outcome) -> None:
        lease = held.task.lease
        self._change(lease, phase=Phase.ENDING)
        self._say(outcome, lambda: self._delivered(lease))
        if self.busy == lease:
            self.busy = None
            self._begin_next()

    def _delivered(self, lease: int) -> None:
        self.held.delivered(lease)
        self.spool.pop(lease, None)

    def forget_leases(self) -> None:
        """A fault of ours: it works on nothing any more and has told nobody."""
        self.held, self.busy = HeldLeases(), None
        self.queue.clear()

    # -- the child -----------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        self.warm = True
        for held in self.held.of_phase(Phase.COUNTED):
            self._hand_over(held.task.lease)
        self.beat()

    def _begin_next(self) -> None:
        if self.busy is None and self.queue:
            self.busy = self.queue.popleft()
            self._begin(self._change(self.busy))

    def _begin(self, held: Held) -> None:
        task = held.task
        found = self.around.store.hit(task)
        if held.interruption is not None:
            self._end(held, interrupted(held, self.name))
        elif not self.has_store:
            self._end(held, Failed(**fields_of(task, self.name), error=error_of(ErrorKind.INFRASTRUCTURE)))
        elif found is not None:
            self._end(held, self._done(held, found, reused=True))
        elif task.upstream is not None and not self._can_read(task.upstream, task):
            self._end(held, lost_input(held, self.name, task.upstream))
        else:
            start = self.around.store.checkpoints.get((task.key, BIT_CLASS), 0) if task.stage is Stage.DENOISE else 0
            self._work(self._change(task.lease, step=start, steps=self._steps(task), step_seconds=STEP_SECONDS))

    def _steps(self, task: Task) -> int:
        return STEPS.get(task.stage) or self.around.plan_of(task.job).steps

    def _can_read(self, upstream: ArtifactRef, task: Task) -> bool:
        if self.around.plan_of(task.job).rots is upstream.stage:
            self.around.store.lose(upstream.key)
        return self.around.store.is_readable(upstream)

    def _work(self, held: Held) -> None:
        """Go on to the next step, or to the end, or to ruin."""
        task, step = held.task, held.step or 0
        if self.around.plan_of(task.job).kills == (task.stage, step):
            self.around.killed_by(task, self)
        elif held.interruption is not None:
            self._stop(held)
        elif step >= self._steps(task):
            self._finish(held)
        else:
            self.later(STEP_SECONDS, lambda: self._stepped(task.lease, step + 1))

    def _stepped(self, lease: int, step: int) -> None:
        if self.busy != lease:
            return
        held = self._change(lease, step=step)
        self.around.computed(held.task, STEP_SECONDS)
        if held.task.stage is Stage.DENOISE and step % CHECKPOINT_STEPS == 0 and self.has_store:
            held = self._checkpoint(held)
        self._press_to_leave()
        self._work(self._change(lease))

    def _checkpoint(self, held: Held) -> Held:
        step = held.step or 0
        self.around.store.save_checkpoint(held.task.key, BIT_CLASS, step)
        return self._change(held.task.lease, checkpoint_step=step)

    def _stop(self, held: Held) -> None:
        if held.interruption == "preempt" and held.task.stage is Stage.DENOISE and held.step and self.has_store:
            held = self._checkpoint(held)
        self._end(held, interrupted(held, self.name))

    def _finish(self, held: Held) -> None:
        error = self.around.takes_failure(held.task)
        if error is not None:
            self._end(held, Failed(**fields_of(held.task, self.name), error=error, seconds=1.0))
        elif self.has_store:
            self._end(held, self._done(held, self.around.store.publish(held.task), reused=False))
        else:
            self._park(held)

    def _park(self, held: Held) -> None:
        """The device goes on to the next task."""
        lease = held.task.lease
        self.spool[lease] = held.task
        self._change(lease, phase=Phase.PARKED)
        self.busy = None
        self.beat()
        self._look_into_spool()
        self._begin_next()

    def _look_into_spool(self) -> None:
        parked = self.held.of_phase(Phase.PARKED)
        if not self.has_store:
            return self.later(self.store_at - self.around.loop.now, self._look_into_spool)
        for held in parked:
            self._end(held, self._done(held, self.around.store.publish(held.task), reused=False))

    def _done(self, held: Held, ref: ArtifactRef, reused: bool) -> Done:
        place = ref.manifest_key.removesuffix(places.MANIFEST)
        video = ObjectRef(name="video", key=f"{place}v", size=1, sha256="0")
        objects = (video,) if held.task.stage is Stage.MUX else ()
        return Done(
            **fields_of(held.task, self.name), artifact=ref, objects=objects, reused=reused,
            seconds=0.0 if reused else self._steps(held.task) * STEP_SECONDS,
        )  # fmt: skip

    # -- leaving -------------------------------------------------------------------------------------------------

    def drain(self, grace: float) -> None:
        """What ends within the grace period is finished, the rest is handed over."""
        if self.draining_until is None:
            self.draining_until = self.around.loop.now + grace
            self.beat()
            self._leave_when_empty()

    def _press_to_leave(self) -> None:
        if self.draining_until is None:
            return
        left = self.draining_until - self.around.loop.now
        for held in self.held.of_phase(Phase.ANNOUNCED, Phase.COUNTED, Phase.RUNNING):
            needed = held.seconds_left
            if left <= 0 or (needed is not None and needed > left):
                self._interrupt(held.task.lease, "preempt")

    def _leave_when_empty(self) -> None:
        self._press_to_leave()
        assert self.draining_until is not None
        if len(self.held) and self.around.loop.now < self.draining_until + LEAVING_MARGIN:
            return self.later(0.5, self._leave_when_empty)
        self.beat(leaving=True)
        self.later(1.0, self.die)


def interrupted(held: Held, worker: str) -> Outcome:
    fields = fields_of(held.task, worker)
    if held.interruption == "cancel":
        return TaskCancelled(**fields)
    return Preempted(**fields, step=held.checkpoint_step)


def lost_input(held: Held, worker: str, ref: ArtifactRef) -> InputMissing:
    fields = fields_of(held.task, worker)
    return InputMissing(**fields, upstream_stage=ref.stage, upstream_key=ref.key, etag=ref.etag, why="gone")


def error_of(kind: ErrorKind) -> ErrorReport:
    return ErrorReport(kind=kind, code=f"sim_{kind}", message="as planned")
