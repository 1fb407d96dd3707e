"""What must hold whatever happens: read off the logs alone, and off the ledger against the logs."""

from __future__ import annotations

from collections import Counter, defaultdict

from schemas.events import JobCancelled, JobCompleted, JobFailed, Task
from schemas.job import JobState, JobStatus, StageState
from schemas.stage import Stage
from streams.coordinator.effects import Count, Effect, Send
from streams.coordinator.ledger import Ledger, WorkerView
from streams.coordinator.policy import Policy
from tests.sim.driver import Driver, rebuilt
from tests.sim.logs import Logs

ENDS = {
    JobStatus.COMPLETED: JobCompleted,
    JobStatus.FAILED: JobFailed,
    JobStatus.CANCELLED: JobCancelled,
}

HEARD_AFTER = 3.0
"""A heartbeat interval: by then a new life of the coordinator has heard every worker that it can hear."""


class Checker:
    """`check_every`: how many commits between two looks at the whole ledger."""

    def __init__(self, logs: Logs, policy: Policy, check_every: int) -> None:
        self.logs, self.policy, self.check_every = logs, policy, check_every
        self.states: dict[str, JobState] = {}
        self.ended: set[str] = set()
        self.leased: defaultdict[str, dict[int, JobState]] = defaultdict(dict)
        """By incarnation: the leases that jobs say it has."""
        self.commits = self.rollbacks = self.openings = self._read = self._highest_lease = 0

    # -- at each commit ------------------------------------------------------------------------------------------

    def committed(self, driver: Driver, effects: list[Effect]) -> None:
        self.commits += 1
        for job, state in self.logs.jobs[self._read :]:
            self._follow(job, state)
        self._read = len(self.logs.jobs)
        for effect in effects:
            self.openings += isinstance(effect, Count) and effect.what == "breaker"
            if isinstance(effect, Send) and isinstance(effect.event, Task):
                assert driver.loop.now - driver.born >= HEARD_AFTER, "placed before the workers were heard"
                self._dispatched(driver.ledger, effect.event)
        if self.commits % self.check_every == 0:
            check_ledger(driver.ledger, self.states)

    def _follow(self, job: str, state: JobState | None) -> None:
        before = self.states.get(job)
        assert state is not None, f"{job} was forgotten"
        assert job not in self.ended, f"{job} changed after its end"
        assert before is None or state.version > before.version, f"versions of {job} do not rise"
        if before is not None and before.lease is not None:
            self.leased[before.lease.incarnation].pop(before.lease.number, None)
        if state.lease is not None:
            self.leased[state.lease.incarnation][state.lease.number] = state
        if state.status.ended and state.is_submitted:
            self.ended.add(job)
        self.states[job] = state

    def _dispatched(self, ledger: Ledger, task: Task) -> None:
        assert task.lease > self._highest_lease, f"lease {task.lease} after {self._highest_lease}"
        self._highest_lease = task.lease
        view = ledger.workers[task.incarnation]
        ours = self.leased[task.incarnation]
        used = (ours.keys() | ({held.lease for held in view.beat.leases} - view.ended)) - view.parked
        assert len(used) <= view.beat.slots, f"{task.incarnation} has {view.beat.slots} slots and got {sorted(used)}"
        assert not view.is_leaving, f"{task.incarnation} is about to leave"
        node = [other for other in ledger.workers.values() if same_node(other, view)]
        held = [(other, self.leased[other.beat.incarnation]) for other in node]
        there = {n: state for other, leases in held for n, state in leases.items() if n not in other.parked}
        suspects = [number for number, state in there.items() if running(state).suspicions]
        assert not suspects or len(there) == 1, f"the suspects {suspects} are not alone on {view.beat.node}"
        breaker = ledger.breakers.get(task.stage)
        assert breaker is None or breaker.probe in (None, task.lease), f"{task.lease} passes an open breaker"

    def rolled_back(self, driver: Driver) -> None:
        """An abort leaves no trace."""
        self.rollbacks += 1
        if self.check_every > 1 and self.rollbacks % 10:
            return
        check_ledger(driver.ledger, self.logs.latest_states())
        fresh = rebuilt(self.logs)
        assert queued(driver.ledger, driver.clock()) == queued(fresh, driver.clock())

    # -- at the end ----------------------------------------------------------------------------------------------

    def check_end(self, driver: Driver) -> None:
        check_ledger(driver.ledger, self.states)
        assert driver.ledger.jobs.base == rebuilt(self.logs).jobs.base
        assert not driver.ledger.leases.base, "a lease outlived its job"
        completions = Counter(event.job for event in self.logs.completions)
        assert completions == dict.fromkeys(self.states, 1), "a job without its one completion"
        for event in self.logs.completions:
            state = self.states[event.job]
            assert isinstance(event, ENDS[state.status]), f"{event.job} is {state.status}, its completion is not"
            if isinstance(event, JobCompleted):
                check_artifacts(state)

    def summary(self) -> str:
        ends = Counter(state.status.value for state in self.states.values())
        leases = sum(record.dispatches for state in self.states.values() for record in state.stages.values())
        return f"{dict(ends)}, {leases} leases, {self.commits} commits, {len(self.logs.letters)} dead letters"


def same_node(one: WorkerView, other: WorkerView) -> bool:
    return one.beat.node == other.beat.node


def running(state: JobState) -> StageState:
    assert state.lease is not None
    return state.stages[state.lease.stage]


def check_artifacts(state: JobState) -> None:
    for stage, record in state.stages.items():
        assert record.artifact is not None, f"{state.job} completed without {stage}"
        assert (record.artifact.stage, record.artifact.key) == (stage, record.key), f"{state.job}: wrong {stage}"


def check_ledger(ledger: Ledger, states: dict[str, JobState]) -> None:
    """Jobs, leases and workers tell one story, and it is the log's."""
    assert not any(overlay.changes for overlay in ledger.overlays)
    assert ledger.jobs.base == states
    in_force = {state.lease.number: state for state in states.values() if state.lease is not None}
    assert {number: live.job for number, live in ledger.leases.base.items()} == {
        number: state.job for number, state in in_force.items()
    }
    for view in ledger.workers.base.values():
        name = view.beat.incarnation
        own = {n for n, state in in_force.items() if state.lease and state.lease.incarnation == name}
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
