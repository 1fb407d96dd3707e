"""What must hold whatever happens: read off the logs alone, and off the ledger against the logs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from schemas.events.completions import Completion, JobCancelled, JobCompleted, JobFailed
from schemas.events.tasks import Task
from schemas.job import JobState, JobStatus, StageState
from schemas.stage import Stage
from streams.coordinator.core.effects import Count, Effect, Send
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.state.tombstone import ended_job
from tests.sim.driver import Driver, rebuilt
from tests.sim.logs import Logs

ENDS = {
    JobStatus.COMPLETED: JobCompleted,
    JobStatus.FAILED: JobFailed,
    JobStatus.CANCELLED: JobCancelled,
}


@dataclass(frozen=True)
class Told:
    """What is kept of a job that the line has forgotten."""

    status: JobStatus
    spare: int
    """Leases that led to nothing."""


class Checker:
    """`check_every`: how many commits between two looks at the whole ledger. `nodes`: worker to node.

    `heard_after`: seconds after which a new life of the coordinator has heard every worker that it can hear.
    `forgotten` is told the last state of each job that is tombstoned.
    """

    def __init__(
        self, logs: Logs, policy: Policy, nodes: dict[str, str], check_every: int, heard_after: float,
        forgotten: Callable[[JobState], None],
    ) -> None:  # fmt: skip
        self.logs, self.policy, self.check_every = logs, policy, check_every
        self.heard_after, self._forgotten = heard_after, forgotten
        self._nodes = nodes
        self._workers: defaultdict[str, list[str]] = defaultdict(list)
        """By node."""
        for worker, node in nodes.items():
            self._workers[node].append(worker)
        self._suspects: defaultdict[str, set[int]] = defaultdict(set)
        """By node: the leases of suspects."""
        self.states: dict[str, JobState] = {}
        self.past: dict[str, Told] = {}
        self.ended: set[str] = set()
        self.completed: set[str] = set()
        self.leased: defaultdict[str, dict[int, JobState]] = defaultdict(dict)
        """By incarnation: the leases that jobs say it has."""
        self.commits = self.rollbacks = self.openings = self.versions = self.highest_lease = 0
        self.read = self.completions_read = 0
        """Offsets up to which `jobs` and `completions` have been checked."""

    # -- at each commit ------------------------------------------------------------------------------------------

    def committed(self, driver: Driver, effects: list[Effect]) -> None:
        self.commits += 1
        for job, state in self.logs.jobs.read(self.read):
            self._follow(job, state, driver.clock())
        self.read = len(self.logs.jobs)
        for event in self.logs.completions.read(self.completions_read):
            self._completed(event)
        self.completions_read = len(self.logs.completions)
        for effect in effects:
            self.openings += isinstance(effect, Count) and effect.what == "breaker"
            if isinstance(effect, Send) and isinstance(effect.event, Task):
                heard = driver.loop.now - driver.born >= self.heard_after
                assert heard, "placed before the workers were heard"
                self._dispatched(driver.ledger, effect.event)
        if self.commits % self.check_every == 0:
            check_ledger(driver.ledger, self.states)

    def _follow(self, job: str, state: JobState | None, now: float) -> None:
        before = self.states.get(job)
        if state is None:
            return self._forget(job, now)
        assert job not in self.ended, f"{job} changed after its end"
        self.versions += 1
        assert before is None or state.version > before.version, f"versions of {job} do not rise"
        if before is not None and before.lease is not None:
            self.leased[before.lease.incarnation].pop(before.lease.number, None)
            self._suspects[self._nodes[before.lease.worker]].discard(before.lease.number)
        if state.lease is not None:
            self.leased[state.lease.incarnation][state.lease.number] = state
            if running(state).suspicions:
                self._suspects[self._nodes[state.lease.worker]].add(state.lease.number)
        if state.status.ended and state.is_submitted:
            self.ended.add(job)
        self.states[job] = state

    def _forget(self, job: str, now: float) -> None:
        last = self.states.pop(job)
        assert last.status.ended, f"{job} was forgotten before its end"
        assert job in self.completed, f"{job} was forgotten without its completion"
        assert last.ended_at is not None
        assert last.ended_at < now - self.policy.tombstone_seconds, f"{job} was forgotten too early"
        self.past[job] = Told(last.status, spare_leases(last))
        self._forgotten(last)

    def _completed(self, event: Completion) -> None:
        assert event.job not in self.completed, f"{event.job} ended twice"
        self.completed.add(event.job)
        state = self.states[event.job]
        assert isinstance(event, ENDS[state.status]), f"{event.job} is {state.status}, its completion is not"
        if isinstance(event, JobCompleted):
            check_artifacts(state)

    def _dispatched(self, ledger: Ledger, task: Task) -> None:
        assert task.lease > self.highest_lease, f"lease {task.lease} after {self.highest_lease}"
        self.highest_lease = task.lease
        view = ledger.workers[task.incarnation]
        ours = self.leased[task.incarnation]
        used = (ours.keys() | ({held.lease for held in view.beat.leases} - view.ended)) - view.parked
        assert len(used) <= view.beat.slots, f"{task.incarnation} has {view.beat.slots} slots and got {sorted(used)}"
        assert not view.is_leaving, f"{task.incarnation} is about to leave"
        if self._suspects[view.beat.node]:
            self._alone(ledger, view.beat.node)
        breaker = ledger.breakers.get(task.stage)
        assert breaker is None or not breaker.is_open or task.lease in breaker.probes, (
            f"{task.lease} passes an open breaker"
        )

    def _alone(self, ledger: Ledger, node: str) -> None:
        views = [ledger.workers.get(ledger.names.get(name) or "") for name in self._workers[node]]
        held = [(view, self.leased[view.beat.incarnation]) for view in views if view is not None]
        there = {number for view, leases in held for number in leases if number not in view.parked}
        suspects = there & self._suspects[node]
        assert not suspects or len(there) == 1, f"the suspects {sorted(suspects)} are not alone on {node}"

    def rolled_back(self, driver: Driver) -> None:
        """An abort leaves no trace. There are fewer of them than of commits, and each look costs a whole replay."""
        self.rollbacks += 1
        if self.rollbacks % max(self.check_every // 20, 1):
            return
        check_ledger(driver.ledger, self.logs.latest_states())
        fresh = rebuilt(self.logs)
        assert queued(driver.ledger, driver.clock()) == queued(fresh, driver.clock())

    # -- at the end ----------------------------------------------------------------------------------------------

    def check_end(self, driver: Driver) -> None:
        check_ledger(driver.ledger, self.states)
        fresh = rebuilt(self.logs)
        assert (driver.ledger.jobs.base, driver.ledger.ended) == (fresh.jobs.base, fresh.ended)
        assert not driver.ledger.leases.base, "a lease outlived its job"
        assert self.completed == self.states.keys() | self.past.keys(), "a job without its one completion"

    @property
    def spare(self) -> int:
        """Leases that led to nothing, of all jobs."""
        return sum(told.spare for told in self.past.values()) + sum(map(spare_leases, self.states.values()))

    def ends(self) -> dict[str, int]:
        told = Counter(past.status.value for past in self.past.values())
        return dict(told + Counter(state.status.value for state in self.states.values()))

    def summary(self) -> str:
        letters = len(self.logs.letters)
        return f"{self.ends()}, {self.highest_lease} leases, {self.commits} commits, {letters} dead letters"


def spare_leases(state: JobState) -> int:
    return sum(record.dispatches - (record.artifact is not None) for record in state.stages.values())


def running(state: JobState) -> StageState:
    assert state.lease is not None
    return state.stages[state.lease.stage]


def check_artifacts(state: JobState) -> None:
    for stage, record in state.stages.items():
        assert record.artifact is not None, f"{state.job} completed without {stage}"
        assert (record.artifact.stage, record.artifact.key) == (stage, record.key), f"{state.job}: wrong {stage}"


def check_ledger(ledger: Ledger, states: dict[str, JobState]) -> None:
    """Jobs, leases and workers tell one story, and it is the log's."""
    assert not any(overlay.changes for overlay in ledger.write_buffers)
    assert ledger.jobs.base == {job: state for job, state in states.items() if not state.status.ended}
    assert ledger.ended == {job: ended_job(state) for job, state in states.items() if state.status.ended}
    in_force = {state.lease.number: state for state in states.values() if state.lease is not None}
    assert {number: live.job for number, live in ledger.leases.base.items()} == {
        number: state.job for number, state in in_force.items()
    }
    owned: defaultdict[str, set[int]] = defaultdict(set)
    for state in in_force.values():
        assert state.lease is not None
        owned[state.lease.incarnation].add(state.lease.number)
    for view in ledger.workers.base.values():
        name = view.beat.incarnation
        own = owned.get(name, set())
        assert view.leases == own, f"{name} has {sorted(own)}, its view {sorted(view.leases)}"
        assert ledger.names.get(view.beat.worker) == name, f"{name} is not the newest life of its worker"


def queued(ledger: Ledger, now: float) -> dict[Stage, set[str]]:
    """The jobs that a placement at `now` would find, or later will."""
    entries = [entry[2] for queues in ledger.waiting.values() for queue in queues.values() for entry in queue]
    entries += [job for _, job in ledger.delayed]
    found: dict[Stage, set[str]] = {}
    for job in entries:
        state = ledger.jobs.get(job)
        if state is not None and state.status is JobStatus.WAITING and state.stage is not None:
            found.setdefault(state.stage, set()).add(job)
    return found
