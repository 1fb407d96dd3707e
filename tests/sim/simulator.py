"""The line in virtual time: scenario in, checked logs out. The same scenario always runs the same way.

`python -m tests.sim.simulator SEED [--size large]` runs one and says what happened.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from schemas.bundle import read_bundles
from schemas.digest import sha256
from schemas.errors import ErrorKind, ErrorReport
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.events.reports import DrainRequested, Heartbeat, Outcome
from schemas.events.tasks import Task
from schemas.job import JobState
from schemas.stage import Stage
from schemas.stage_keys import job_id
from streams.coordinator.core.policy import Policy
from streams.kafka.topics import PROMPTS, REPORTS
from tests.sim import scenario as faults
from tests.sim.checker import Checker
from tests.sim.child import BIT_CLASS, error_of
from tests.sim.driver import Driver
from tests.sim.expectations import check_ends, check_kills, check_one_end, check_waste, is_undisturbed
from tests.sim.logs import Logs
from tests.sim.loop import START, Loop
from tests.sim.machine import Machine
from tests.sim.scenario import SIZES, SMALL, Fault, JobPlan, Scenario, draw
from tests.sim.shrink import shrink, story
from tests.sim.store import Store

POLICY = Policy(bundles=read_bundles([Path("bundles/tiny")]))
TENANT = "default"
MENDED_AFTER = 45.0
"""Seconds after the last fault: by then all are over, and whatever is missing is started again."""

STUCK_AFTER, LATE_WORDS_SECONDS = 840.0, 20.0
"""Seconds after the last fault; seconds after the last end."""
RESTART_SECONDS = 2.0
TIDY_SECONDS = 10.0
"""How often logs let go of what nobody will read again, where stubs are forgotten."""


class Stuck(AssertionError):
    """Something waits for ever."""


class World:
    def __init__(self, scenario: Scenario, policy: Policy = POLICY, check_every: int = 1, bytes_every: int = 1) -> None:
        self.scenario, self.policy = scenario, policy
        self.chance = random.Random(scenario.seed)
        self.loop, self.logs, self.store = Loop(), Logs(bytes_every=bytes_every), Store()
        self.inbox_partitions = max(len(scenario.nodes) // scenario.readers_an_inbox, 2)
        self.beat_seconds = scenario.beat_seconds
        self.over_at = START + scenario.faulty_seconds
        self.cancelled = {fault.job for fault in scenario.faults if isinstance(fault, faults.CancelJob)}
        self.is_undisturbed = is_undisturbed(scenario)
        self.plans = {job_id(TENANT, plan.name): plan for plan in scenario.jobs}
        self.failures: Counter[str] = Counter()
        self.broken: dict[Stage, tuple[ErrorKind, float]] = {}
        """The stages that fail, how, and until when."""
        self.kills: Counter[str] = Counter()
        self.seconds: defaultdict[tuple[str, Stage], float] = defaultdict(float)
        self.lives: Counter[str] = Counter()
        self.machines: dict[str, Machine] = {}
        self.spools: defaultdict[str, dict[int, Task]] = defaultdict(dict)
        self.harmed: set[str] = set()
        """Names of the workers that died, or were out of reach."""
        self.clock_error = 0.0
        self.poisons = self._said = self._coordinators = 0
        self.checker = Checker(self.logs, policy, scenario.nodes, check_every, scenario.beat_seconds, self._forgotten)
        self.logs.on_record = self._wake
        for name in scenario.nodes:
            self.start_worker(name)
        self.start_coordinator()
        self._coming = iter(sorted(scenario.jobs, key=lambda plan: plan.at))
        self._await_next()
        for fault in scenario.faults:
            self._at(fault.at, partial(self.inflict, fault))
        self.loop.at(self.over_at + MENDED_AFTER, self._mend)
        if policy.tombstone_seconds < POLICY.tombstone_seconds:
            self._tidy(0)

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        self.loop.at(START + seconds, act)

    # -- running -------------------------------------------------------------------------------------------------

    def run(self) -> World:
        """Until all jobs have ended and late words have been heard. Raises `Stuck`."""
        self.loop.run_until(self.over_at + MENDED_AFTER)
        while not self._is_over():
            self.loop.step()
        self.loop.run_until(self.loop.now + LATE_WORDS_SECONDS)
        self.checker.check_end(self.driver)
        assert self.checker.completed == self.plans.keys(), "a job was never heard of"
        for check in (check_ends, check_kills, check_waste):
            check(self)
        return self

    def _is_over(self) -> bool:
        if len(self.checker.ended) == len(self.plans):
            return True
        if self.loop.now > self.over_at + STUCK_AFTER:
            waiting = [self.checker.states.get(job, job) for job in self.plans if job not in self.checker.ended]
            raise Stuck(f"{len(waiting)} jobs never end, such as {waiting[0]}")
        return False

    def _tidy(self, prompts: int) -> None:
        """`prompts`: how many there were the last time; they are kept for so long at least."""
        self.logs.forget(prompts, self.checker.read, self.checker.completions_read)
        self.loop.after(TIDY_SECONDS, partial(self._tidy, len(self.logs.records[PROMPTS.name])))

    def _forgotten(self, state: JobState) -> None:
        """Its first stage's output may be another job's too."""
        check_one_end(self, state)
        for stage, record in state.stages.items():
            self.seconds.pop((state.job, stage), None)
            if stage is not Stage.ENCODE:
                self.store.forget(record.key, BIT_CLASS)

    def _mend(self) -> None:
        for name in self.scenario.nodes:
            if not self.machines[name].alive:
                self.start_worker(name)
        if not self.driver.alive:
            self.start_coordinator()

    # -- what a worker meets -------------------------------------------------------------------------------------

    def latency(self) -> float:
        return self.chance.uniform(0.1, 1.9) * self.scenario.latency

    def plan_of(self, job: str) -> JobPlan:
        return self.plans[job]

    def takes_failure(self, task: Task) -> ErrorReport | None:
        kind, until = self.broken.get(task.stage, (ErrorKind.UNKNOWN, 0.0))
        if self.loop.now < until:
            self.failures[task.job] += 1
            return error_of(kind)
        fails = self.plans[task.job].fails
        if fails is None or fails[0] is not task.stage or self.failures[task.job] >= fails[2]:
            return None
        self.failures[task.job] += 1
        return error_of(fails[1])

    def report(self, event: Outcome | Heartbeat) -> None:
        self._said += 1
        poison = self.poisons > 0 and isinstance(event, Outcome)
        self.poisons -= poison
        self.logs.append(REPORTS.name, event, f"{event.incarnation}-{self._said}", self.loop.now, poison)

    def killed_by(self, task: Task, machine: Machine) -> None:
        self.kills[task.job] += 1
        with_it = [name for name, node in self.scenario.nodes.items() if node == machine.node]
        for name in with_it if self.scenario.kills_take == "node" else [machine.name]:
            self._kill(name, RESTART_SECONDS)

    def computed(self, task: Task, seconds: float) -> None:
        self.seconds[task.job, task.stage] += seconds

    # -- lives ---------------------------------------------------------------------------------------------------

    def start_worker(self, name: str) -> None:
        self.lives[name] += 1
        self.machines[name] = Machine(self, name, self.scenario.nodes[name], self.lives[name], self.scenario.slots)

    def _kill(self, name: str, back_after: float | None) -> None:
        machine = self.machines[name]
        if not machine.alive:
            return
        machine.die()
        self.harmed.add(name)
        if back_after is not None:
            self.loop.after(back_after, partial(self._restart, name))

    def _restart(self, name: str) -> None:
        if not self.machines[name].alive:
            self.start_worker(name)

    def _wake(self) -> None:
        self.driver.wake()

    def start_coordinator(self) -> None:
        self._coordinators += 1
        policy = replace(self.policy, coordinator=f"c{self._coordinators}")
        self.driver = Driver(
            self.loop, self.logs, policy, lambda: self.loop.now + self.clock_error,
            self.checker.committed, self.checker.rolled_back,
        )  # fmt: skip

    def _restart_coordinator(self) -> None:
        """A standby takes over; one that was only paused finds itself fenced."""
        self.start_coordinator()

    # -- prompts -------------------------------------------------------------------------------------------------

    def _await_next(self) -> None:
        plan = next(self._coming, None)
        if plan is not None:
            self._at(plan.at, partial(self._submit_next, plan))

    def _submit_next(self, plan: JobPlan) -> None:
        self.submit(plan)
        self._await_next()

    def submit(self, plan: JobPlan, changed: bool = False) -> None:
        prompt = f"{plan.prompt}, changed" if changed else plan.prompt
        asked = PromptSubmitted(prompt=prompt, idempotency_key=plan.name, priority=plan.priority)
        self.logs.append(PROMPTS.name, asked, plan.name, self.loop.now)

    # -- faults --------------------------------------------------------------------------------------------------

    def inflict(self, fault: Fault) -> None:
        if isinstance(fault, faults.WorkerFault):
            self._inflict_on_worker(fault)
        elif isinstance(fault, faults.CoordinatorFault):
            self._inflict_on_coordinator(fault)
        else:
            self._inflict_on_records(fault)

    def _inflict_on_worker(self, fault: faults.WorkerFault) -> None:
        if isinstance(fault, faults.LoseNode):
            for name, node in self.scenario.nodes.items():
                if node == fault.node:
                    self._kill(name, fault.back_after)
            return
        machine = self.machines[fault.worker]
        self.harmed.add(fault.worker)
        if isinstance(fault, faults.KillWorker):
            self._kill(fault.worker, fault.back_after)
        elif isinstance(fault, faults.PauseWorker):
            machine.pause(fault.seconds)
        elif isinstance(fault, faults.CutOff):
            machine.cut_off(fault.seconds)
        elif isinstance(fault, faults.LoseStore):
            machine.lose_store(fault.seconds)
        elif isinstance(fault, faults.StallInbox):
            machine.stalled_until[fault.stage] = self.loop.now + fault.seconds
        elif isinstance(fault, faults.DropLease):
            machine.forget_leases()
        else:
            if isinstance(fault, faults.AskToLeave):
                asked = DrainRequested(worker=fault.worker)
                self.logs.append(REPORTS.name, asked, f"drain-{fault.worker}-{fault.at}", self.loop.now)
            else:
                machine.drain(faults.DRAIN_GRACE)
            self.loop.after(faults.DRAIN_GRACE + fault.back_after, partial(self._restart, fault.worker))

    def _inflict_on_coordinator(self, fault: faults.CoordinatorFault) -> None:
        driver = self.driver
        if isinstance(fault, faults.AbortCommits):
            driver.aborts = fault.count
        elif isinstance(fault, faults.StepClock):
            self.clock_error += fault.seconds
        elif isinstance(fault, faults.PauseCoordinator):
            driver.paused_until = self.loop.now + fault.seconds
            if fault.taken_over:
                self.loop.after(min(fault.seconds, 6.0), self._restart_coordinator)
        else:
            if fault.moment == "now":
                driver.alive = False
            else:
                driver.dies = fault.moment
            self.loop.after(fault.back_after + 1.0, self._restart_coordinator)

    def _inflict_on_records(self, fault: Fault) -> None:
        plans = {plan.name: plan for plan in self.scenario.jobs}
        if isinstance(fault, faults.ReplayPrompts):
            self.logs.committed[PROMPTS.name] = self.logs.records[PROMPTS.name].start
            self.driver.rewind_prompts()
        elif isinstance(fault, faults.RepeatPrompt):
            self.submit(plans[fault.job], fault.changed)
        elif isinstance(fault, faults.CancelJob):
            asked = CancelRequested(job=job_id(TENANT, fault.job))
            self.logs.append(PROMPTS.name, asked, f"cancel-{fault.job}-{fault.at}", self.loop.now)
        elif isinstance(fault, faults.LoseArtifact):
            state = self.checker.states.get(job_id(TENANT, fault.job))
            if state is not None and state.stages:
                self.store.lose(state.stages[fault.stage].key)
        elif isinstance(fault, faults.BreakStage):
            self.broken[fault.stage] = (fault.kind, self.loop.now + fault.seconds)
        elif isinstance(fault, faults.PoisonOutcome):
            self.poisons += 1


def simulate(seed: int, size: faults.Size = SMALL) -> World:
    """Raises `AssertionError` that tells how to run the same again."""
    [name] = [name for name, known in SIZES.items() if known == size]
    scenario = draw(seed, size)
    try:
        return World(scenario, check_every=max(size.jobs // 10, 1) if size is not SMALL else 1).run()
    except Exception as error:
        told = f"to run it again: python -m tests.sim.simulator {seed} --size {name}\n{type(error).__name__}: {error}"
        if size is SMALL:
            kind = type(error)
            short = shrink(scenario, lambda left: isinstance(failure_of(left), kind))
            told += f"\nit comes down to:\n{story(short)}"
        raise AssertionError(told) from error


def failure_of(scenario: Scenario) -> Exception | None:
    try:
        World(scenario).run()
    except Exception as error:
        return error
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--digest", action="store_true", help="of every job state that was written, in order")
    asked = parser.parse_args()
    for fault in draw(asked.seed, SIZES[asked.size]).faults:
        print(fault)
    world = simulate(asked.seed, SIZES[asked.size])
    print(world.checker.summary())
    if asked.digest:
        print(sha256(b"".join(state.to_bytes() for _, state in world.logs.jobs if state is not None)))


if __name__ == "__main__":
    main()
