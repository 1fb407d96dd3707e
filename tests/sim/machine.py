"""A simulated worker that keeps the protocol: the phases of `streams.worker`, on virtual time and a simulated store."""

from __future__ import annotations

from typing import Any

from schemas.base import construct
from schemas.events.reports import Heartbeat, Inbox, Outcome, Started
from schemas.events.tasks import CancelTask, Drain, Task
from schemas.stage import STAGES, Stage
from streams.worker.loop.active_tasks import ActiveTask, LeaseTable, Phase, fields_of
from tests.sim.child import BIT_CLASS, Child, interrupted
from tests.sim.life import Life
from tests.sim.logs import Order
from tests.sim.scenario import DRAIN_GRACE
from tests.sim.surroundings import Surroundings
from tests.sim.voice import Voice

WARM_AFTER, LEAVING_MARGIN = 1.0, 4.0


class Machine(Life):
    """One life of a worker. What it says goes out in order; nothing is said once it is dead."""

    def __init__(self, around: Surroundings, name: str, node: str, life: int, slots: int) -> None:
        super().__init__(around.loop)
        self.around, self.name, self.node, self.slots = around, name, node, slots
        self.incarnation, self.started_at = f"{name}.{life}", around.loop.now
        self.warm = False
        self.held = LeaseTable()
        self.child, self.voice = Child(self), Voice(around, self)
        self.stalled_until = dict.fromkeys(STAGES, 0.0)
        self.draining_until: float | None = None
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

    def lose_store(self, seconds: float) -> None:
        super().lose_store(seconds)
        self.beat()
        self.later(seconds, self.beat)

    # -- heartbeats ----------------------------------------------------------------------------------------------

    def _every_beat(self) -> None:
        self.beat()
        self.later(self.around.beat_seconds, self._every_beat)

    def beat(self, leaving: bool = False) -> None:
        inboxes = tuple(construct(Inbox, stage=s, partition=self.partition, echo=self.echo[s]) for s in STAGES)
        self.voice.beat(construct(
            Heartbeat, incarnation=self.incarnation, worker=self.name, node=self.node, started_at=self.started_at,
            inboxes=inboxes, slots=self.slots if self.warm and self.has_store else 0, leases=self.held.listed(),
            bundles=("tiny",), bit_class=BIT_CLASS, draining=self.draining_until is not None, leaving=leaving,
        ))  # fmt: skip

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
        wait = max(self.stalled_until[stage], self.reached_at) - self.loop.now
        if wait > 0:
            return self.later(wait, lambda: self._read(stage))
        for order in self.around.logs.inboxes[stage, self.partition].read(self._next[stage]):
            if not self.alive:
                return
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

    # -- leases --------------------------------------------------------------------------------------------------

    def _take(self, task: Task) -> None:
        if task.lease in self.held:
            return
        held = self.held.take(task, None)
        if self.draining_until is not None:
            self.end(held, interrupted(held, self.name))
        else:
            self.voice.say(construct(Started, **fields_of(task, self.name)), lambda: self._counted(task.lease))

    def _counted(self, lease: int) -> None:
        """Its Started is acknowledged: now the child may have it."""
        held = self.held.get(lease)
        if held is None or held.phase is not Phase.START_PENDING:
            return
        held = self.change(lease, phase=Phase.START_ACKED)
        if held.interruption is not None:
            self.end(held, interrupted(held, self.name))
        elif self.warm:
            self._hand_over(lease)

    def _hand_over(self, lease: int) -> None:
        self.change(lease, phase=Phase.RUNNING)
        self.child.run(lease)

    def _warm_up(self) -> None:
        self.warm = True
        for held in self.held.of_phase(Phase.START_ACKED):
            self._hand_over(held.task.lease)
        self.beat()

    def _interrupt(self, lease: int, how: Any) -> None:
        held = self.held.get(lease)
        if held is None or held.phase is Phase.REPORTING or held.interruption is not None:
            return
        held = self.change(lease, interruption=how)
        if held.phase is Phase.START_ACKED or (held.phase is Phase.PARKED and how == "cancel"):
            self.end(held, interrupted(held, self.name))

    def lease(self, lease: int) -> ActiveTask:
        held = self.held.get(lease)
        assert held is not None
        return held

    def change(self, lease: int, **changes: object) -> ActiveTask:
        held = self.held.change(lease, **changes)
        assert held is not None
        return held

    def end(self, held: ActiveTask, outcome: Outcome) -> None:
        lease = held.task.lease
        self.change(lease, phase=Phase.REPORTING)
        self.voice.say(outcome, lambda: self._delivered(lease))
        self.child.release(lease)

    def _delivered(self, lease: int) -> None:
        self.held.delivered(lease)
        self.spool.pop(lease, None)

    def forget_leases(self) -> None:
        """A fault of ours: it works on nothing any more and has told nobody."""
        self.held = LeaseTable()
        self.child.forget()

    # -- finished work that waits for the store ------------------------------------------------------------------

    def park(self, held: ActiveTask) -> None:
        self.spool[held.task.lease] = held.task
        self.change(held.task.lease, phase=Phase.PARKED)
        self.beat()
        self._look_into_spool()

    def _look_into_spool(self) -> None:
        parked = self.held.of_phase(Phase.PARKED)
        if not self.has_store:
            return self.later(self.store_at - self.loop.now, self._look_into_spool)
        for held in parked:
            self.end(held, self.child.published(held))

    # -- leaving -------------------------------------------------------------------------------------------------

    def drain(self, grace: float) -> None:
        """What ends within the grace period is finished, the rest is handed over."""
        if self.draining_until is None:
            self.draining_until = self.loop.now + grace
            self.beat()
            self._leave_when_empty()

    def press_to_leave(self) -> None:
        if self.draining_until is None:
            return
        left = self.draining_until - self.loop.now
        for held in self.held.of_phase(Phase.START_PENDING, Phase.START_ACKED, Phase.RUNNING):
            needed = held.seconds_left
            if left <= 0 or (needed is not None and needed > left):
                self._interrupt(held.task.lease, "preempt")

    def _leave_when_empty(self) -> None:
        self.press_to_leave()
        assert self.draining_until is not None
        if len(self.held) and self.loop.now < self.draining_until + LEAVING_MARGIN:
            return self.later(0.5, self._leave_when_empty)
        self.beat(leaving=True)
        self.later(1.0, self.die)
