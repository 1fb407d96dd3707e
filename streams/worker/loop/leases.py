"""Each lease from its task to its outcome: what the child is told of it, and what the coordinator."""

from __future__ import annotations

import time

import structlog

from runtime import metrics
from schemas.envelope import UnreadableEvent
from schemas.errors import UnreadableTask
from schemas.events.reports import Failed, Outcome
from schemas.events.tasks import Task
from stages.storage.spool import Entry
from streams.worker.compute.messages import AwaitingUpload, Ended, Interrupt, Interruption, Run, Stepped, Succeeded
from streams.worker.compute.process import Compute
from streams.worker.loop import outcomes
from streams.worker.loop.active_tasks import ActiveTask, LeaseTable, Phase
from streams.worker.loop.inbox import InboxRecord
from streams.worker.loop.reporter import Delivered, Reporter
from streams.worker.loop.uploader import Uploaded, Uploader, UploadFailed

log = structlog.get_logger(__name__)


class Leases:
    """Those of one life. `held` says where each stands; every call is made by the worker's loop."""

    def __init__(self, worker: str, incarnation: str, compute: Compute, reporter: Reporter, uploader: Uploader) -> None:
        self.worker, self.incarnation = worker, incarnation
        self.compute, self.reporter, self.uploader = compute, reporter, uploader
        self.held = LeaseTable()

    def take(self, task: Task, traceparent: str | None) -> None:
        held = self.held.take(task, traceparent)
        self.reporter.outcome(outcomes.started(held, self.worker), traceparent)

    def decline(self, task: Task, traceparent: str | None) -> None:
        """Give it back at once: another worker runs it."""
        held = self.held.take(task, traceparent)
        self.end(held, outcomes.interrupted(held, self.worker, "preempt"))

    def refuse(self, letter: InboxRecord, error: UnreadableEvent) -> None:
        """A task of a newer release, say: reported by its headers, never dropped."""
        address = letter.address
        log.error("a record of the inbox cannot be read", lease=address.lease, why=str(error))
        if address.lease and address.job:
            failed = Failed(
                incarnation=self.incarnation, worker=self.worker, lease=address.lease, job=address.job,
                stage=letter.stage, key=address.key, error=UnreadableTask(str(error)).report(),
            )  # fmt: skip
            self.reporter.outcome(failed, None)

    def delivered(self, event: Delivered) -> None:
        if not event.started:
            self.held.delivered(event.lease)
            self.uploader.drop(event.lease)
            return
        # Only now may the child have it: a job that kills the machine at once has been counted (protocol rule 5).
        held = self.held.get(event.lease)
        if held is None or held.phase is not Phase.START_PENDING:
            return
        held = self.held.change(event.lease, phase=Phase.START_ACKED) or held
        if held.interruption is not None:
            self.end(held, outcomes.interrupted(held, self.worker, held.interruption))

    def begin(self) -> None:
        """What waited for a warm child goes to it."""
        for held in self.held.of_phase(Phase.START_ACKED):
            self.held.change(held.task.lease, phase=Phase.RUNNING, moved_at=time.monotonic())
            self.compute.send(Run(held.task, held.traceparent))

    def interrupt(self, lease: int, how: Interruption) -> None:
        held = self.held.get(lease)
        if held is None or held.phase is Phase.REPORTING or held.interruption is not None:
            return
        held = self.held.change(lease, interruption=how) or held
        if held.phase is Phase.RUNNING:
            self.compute.send(Interrupt(lease, how))
        elif held.phase is Phase.START_ACKED or (held.phase is Phase.PARKED and how == "cancel"):
            self.end(held, outcomes.interrupted(held, self.worker, how))

    def stepped(self, message: Stepped) -> None:
        held = self.held.change(
            message.lease, step=message.step, steps=message.steps, step_seconds=message.seconds,
            moved_at=time.monotonic(),
        )  # fmt: skip
        if held is not None:
            self.reporter.progress(outcomes.progress_of(held, message))
            if message.seconds is not None:
                metrics.STEP_SECONDS.labels(held.task.recipe.model).observe(message.seconds)

    def ended(self, message: Ended) -> None:
        held = self.held.get(message.lease)
        if held is not None:
            self._child_goes_on()
            outcomes.measure(held, message)
            self.end(held, outcomes.outcome_of(held, self.worker, message))

    def end(self, held: ActiveTask, outcome: Outcome) -> None:
        self.held.change(held.task.lease, phase=Phase.REPORTING)
        self.reporter.outcome(outcome, held.traceparent)

    def _child_goes_on(self) -> None:
        """With the next task, whose time begins now."""
        for next_up in self.held.of_phase(Phase.RUNNING):
            self.held.change(next_up.task.lease, moved_at=time.monotonic())

    # -- parked results ------------------------------------------------------------------------------------------

    def adopt(self, entry: Entry) -> ActiveTask:
        """What an earlier life of this worker has left is listed from the first heartbeat on (protocol rule 13)."""
        log.info("a parked result of an earlier life", lease=entry.task.lease, job=entry.task.job)
        task = entry.task.model_copy(update={"incarnation": self.incarnation})
        return self.held.take(task, entry.traceparent, Phase.PARKED)

    def parked(self, message: AwaitingUpload) -> bool:
        """Whether it is kept for the store."""
        held = self.held.get(message.lease)
        self._child_goes_on()
        if held is None or held.phase is not Phase.RUNNING:
            return False
        if held.interruption == "cancel":
            self.end(held, outcomes.interrupted(held, self.worker, "cancel"))
            return False
        self.held.change(message.lease, phase=Phase.PARKED)
        self.uploader.look()
        return True

    def unparked(self, event: Uploaded | UploadFailed) -> None:
        """The result is in the store; or it is of no use, and the work goes on elsewhere from its checkpoint."""
        held = self.held.get(event.lease)
        if held is None and isinstance(event, Uploaded):
            held = self.adopt(event.entry)
        if held is None:
            self.uploader.drop(event.lease)
        elif held.phase is not Phase.REPORTING and isinstance(event, Uploaded):
            outcomes.measure(held, Succeeded(event.lease, event.result.seconds, event.result))
            self.end(held, outcomes.done(held, self.worker, event.result))
        elif held.phase is not Phase.REPORTING:
            self.end(held, outcomes.interrupted(held, self.worker, "preempt"))
