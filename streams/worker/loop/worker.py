"""The stream process of a stage worker: one loop that takes events off one queue and never computes or blocks.

Inbox, reporter, uploader, compute child and surroundings each have their own thread and put what happens into the
queue; all state is changed by the one thread of the loop, an event at a time.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import deque

import structlog

from runtime import metrics
from runtime.settings import Settings
from runtime.watchdog import Turns
from schemas.envelope import UnreadableEvent
from schemas.errors import ErrorKind
from schemas.events.reports import Heartbeat
from schemas.events.tasks import CancelTask, Drain, Task
from schemas.stage import Stage
from streams.kafka.clients import ErrorWatch, FatalClientError
from streams.worker.compute.child import LOG_LINES_KEPT, spool_of, store_of
from streams.worker.compute.messages import (
    AwaitingUpload,
    Checkpointed,
    ChildFailed,
    FailedWith,
    FromChild,
    Interrupt,
    Logged,
    Measured,
    Previewed,
    Ready,
    Stepped,
)
from streams.worker.compute.process import ChildExited, ChildMessage, Compute
from streams.worker.loop import outcomes, session
from streams.worker.loop.active_tasks import Phase
from streams.worker.loop.health import READY, STORE_ANSWER_S, Surroundings
from streams.worker.loop.inbox import InboxBroken, Inboxes, InboxRecord
from streams.worker.loop.leases import Leases
from streams.worker.loop.reporter import Delivered, Reporter, Undeliverable
from streams.worker.loop.uploader import Uploaded, Uploader, UploadFailed, inherited

LEAVING_MARGIN_S = 4.0
"""After the grace period: time for checkpoints and last outcomes to get out."""

log = structlog.get_logger(__name__)


class WorkerBroken(Exception):
    """This life cannot go on; the process ends non-zero and the supervisor starts another."""


class Worker:
    """`run` returns when the worker has left in order. Raises `FatalClientError`, `WorkerBroken`, `KafkaException`."""

    def __init__(self, settings: Settings, stages: tuple[Stage, ...], models: tuple[str, ...]) -> None:
        self.settings, self.stages, self.models = settings, stages, models
        self.name = settings.worker_name
        self.started_at = session.began(settings.data_dir / "lives" / self.name, time.time())
        self.incarnation = f"{self.name}.{uuid.uuid4().hex[:12]}"
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.warm: Ready | None = None
        self.child_log: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self.draining_until: float | None = None
        self._beat_at = 0.0
        self._recycling = self._hanging = False
        self._watch = ErrorWatch()
        self.turns = Turns("worker")

    # -- life ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        spool = spool_of(self.settings)
        left = inherited(spool)
        self.compute = Compute(self.settings, self.stages, self.events.put)
        self.compute.start()
        self.uploader = Uploader(spool, store_of(self.settings), self.events.put)
        self.surroundings = Surroundings(
            self.settings.data_dir, self.settings.least_free_bytes,
            store_of(self.settings, answer_s=STORE_ANSWER_S).is_reachable, lambda condition: self.events.put(self.beat),
        )  # fmt: skip
        self.reporter = Reporter(self.settings, self._watch, self.events.put)
        self.leases = Leases(self.name, self.incarnation, self.compute, self.reporter, self.uploader)
        for entry in left:
            self.leases.adopt(entry)
        self.inboxes = Inboxes(self.settings, self.stages, self.incarnation, self._watch, self.events.put)
        log.info("worker announced", incarnation=self.incarnation, stages=self.stages)
        try:
            while not self._may_leave():
                self._turn()
            self._leave()
        finally:
            # Whatever ends this life: what is computed now goes on from a checkpoint of this moment (protocol rule 13).
            for held in self.leases.held.of_phase(Phase.RUNNING):
                self.compute.send(Interrupt(held.task.lease, "preempt"))
            self.inboxes.close()
            self.compute.stop()
            self.uploader.close()
            self.surroundings.close()
            self.reporter.close()

    def drain(self) -> None:
        """Take no new task, finish or hand over what is held, then leave. May be called from a signal handler."""
        self.events.put(self._begin_draining)

    def reason(self) -> str | None:
        """Why this worker is not ready, or None."""
        if (stalled := self.turns.reason(self.settings.stuck_after_s)) is not None:
            return stalled
        return None if self.condition == READY else self.condition

    @property
    def condition(self) -> str:
        return "starting" if self.warm is None else self.surroundings.condition

    def _turn(self) -> None:
        self.turns.turned()
        self._watch.check()
        now = time.monotonic()
        if now >= self._beat_at:
            self.beat()
        if self.draining_until is not None:
            self._press_to_leave(now)
        self._stop_hanging_child(now)
        try:
            event = self.events.get(timeout=0.1 if self.draining_until else max(self._beat_at - now, 0.001))
        except queue.Empty:
            return
        self._handle(event)

    def _handle(self, event: object) -> None:
        if isinstance(event, InboxRecord):
            self._read(event)
        elif isinstance(event, Delivered):
            self.leases.delivered(event)
            if self.warm is not None:
                self.leases.begin()
        elif isinstance(event, ChildMessage):
            if event.generation == self.compute.generation:
                self._heard(event.message)
        elif isinstance(event, ChildExited):
            self._child_gone(event)
        elif isinstance(event, Uploaded | UploadFailed):
            self.leases.unparked(event)
        elif isinstance(event, InboxBroken | Undeliverable):
            raise FatalClientError(event.why)
        elif callable(event):
            event()

    # -- heartbeats ----------------------------------------------------------------------------------------------

    def beat(self, leaving: bool = False) -> None:
        condition = self.condition
        slots = self.settings.slots if condition == READY else 0
        self._beat_at = time.monotonic() + self.settings.heartbeat_interval_s
        beat = Heartbeat(
            incarnation=self.incarnation, worker=self.name, node=self.settings.node_name, started_at=self.started_at,
            inboxes=self.inboxes.listed(), slots=slots, leases=self.leases.held.listed(), bundles=self.models,
            loaded=self.warm.loaded if self.warm else (), bit_class=self.warm.bit_class if self.warm else "",
            revisions=dict(self.warm.revisions) if self.warm else {},
            draining=self.draining_until is not None, leaving=leaving, condition=condition,
            # Whoever supersedes a dead life says so at once; later nobody asks.
            last_end=None if self.warm else self.settings.last_end or None,
        )  # fmt: skip
        self.reporter.heartbeat(beat)
        metrics.PARKED_RESULTS.set(len(self.leases.held.of_phase(Phase.PARKED)))
        busy = "busy" if len(self.leases.held) and condition == READY else condition
        metrics.set_state(metrics.WORKER_STATE, "draining" if beat.draining else busy)

    # -- tasks and commands --------------------------------------------------------------------------------------

    def _read(self, letter: InboxRecord) -> None:
        self.inboxes.record_read(letter)
        if letter.address.incarnation != self.incarnation:
            return
        try:
            event, attributes = letter.read()
        except UnreadableEvent as error:
            return self.leases.refuse(letter, error)
        if isinstance(event, Task):
            self._take(event, attributes.traceparent)
        elif isinstance(event, CancelTask):
            self.leases.interrupt(event.lease, "cancel")
        elif isinstance(event, Drain):
            log.warning("told to leave", why=event.reason, at_once=event.at_once)
            self._begin_draining(0.0 if event.at_once else None)

    def _take(self, task: Task, traceparent: str | None) -> None:
        if task.lease in self.leases.held:
            return
        if self.draining_until is not None:
            self.leases.decline(task, traceparent)
        else:
            self.leases.take(task, traceparent)

    # -- the child -----------------------------------------------------------------------------------------------

    def _heard(self, message: FromChild) -> None:
        if isinstance(message, Ready):
            self.warm = message
            log.info("the compute child is warm", loaded=message.loaded, pid=self.compute.pid)
            self.leases.begin()
            self.beat()
        elif isinstance(message, ChildFailed):
            raise WorkerBroken(message.why)
        elif isinstance(message, Measured):
            metrics.record(message.name, message.amount, dict(message.labels))
        elif isinstance(message, Logged):
            self.child_log.append(message.line)
        elif isinstance(message, Stepped):
            self.leases.stepped(message)
        elif isinstance(message, Checkpointed):
            self.leases.held.change(message.lease, checkpoint_step=message.step)
        elif isinstance(message, Previewed):
            self.leases.held.change(message.lease, preview_step=message.step)
        elif isinstance(message, AwaitingUpload):
            if self.leases.parked(message):
                self.beat()
        else:
            self._recycling = isinstance(message, FailedWith) and message.error.kind is ErrorKind.RESOURCE
            self.leases.ended(message)

    def _stop_hanging_child(self, now: float) -> None:
        """Kill a child that does not move; what it was at is tried again, here or elsewhere."""
        at_work = self.leases.held.of_phase(Phase.RUNNING)[:1]
        if self._hanging or not any(held.is_stuck(now, self.settings.step_deadline_s) for held in at_work):
            return
        self._hanging = True
        log.error("the compute child hangs and is replaced", pid=self.compute.pid, job=at_work[0].task.job)
        self.compute.kill()

    def _child_gone(self, event: ChildExited) -> None:
        """What it was at has failed; what it had not begun yet goes to the next child."""
        self.warm = None
        running = self.leases.held.of_phase(Phase.RUNNING)
        begun = 0 if self._recycling else 1
        for held in running[:begun]:
            log.error("the compute child is gone", how=event.how, job=held.task.job, lease=held.task.lease)
            hung = f"stopped since it had hung for {time.monotonic() - held.moved_at:.0f} s"
            how = hung if self._hanging else event.how
            self.leases.end(held, outcomes.child_died(held, self.name, how, tuple(self.child_log)))
        for held in running[begun:]:
            self.leases.held.change(held.task.lease, phase=Phase.START_ACKED)
        reason = "out_of_memory" if self._recycling else "deadline" if self._hanging else "died"
        metrics.CHILD_RESTARTS.labels(reason).inc()
        self._recycling = self._hanging = False
        self.child_log.clear()
        self.compute.start()
        self.beat()

    # -- leaving -------------------------------------------------------------------------------------------------

    def _begin_draining(self, grace: float | None = None) -> None:
        if self.draining_until is not None:
            return
        grace = self.settings.drain_grace_s if grace is None else grace
        self.draining_until = time.monotonic() + grace
        log.info("draining", held=len(self.leases.held), grace_s=grace)
        self.beat()

    def _press_to_leave(self, now: float) -> None:
        """What does not fit into what is left of the grace period is checkpointed and handed over."""
        left = (self.draining_until or now) - now
        for held in self.leases.held.of_phase(Phase.START_PENDING, Phase.START_ACKED, Phase.RUNNING):
            needed = held.seconds_left
            if left <= 0 or (needed is not None and needed > left):
                self.leases.interrupt(held.task.lease, "preempt")

    def _may_leave(self) -> bool:
        if self.draining_until is None:
            return False
        return not len(self.leases.held) or time.monotonic() > self.draining_until + LEAVING_MARGIN_S

    def _leave(self) -> None:
        self.beat(leaving=True)
        delivered = self.reporter.flush(5.0)
        log.info("left", delivered=delivered, held=len(self.leases.held))
