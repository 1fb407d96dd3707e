"""A failing scenario cut down to a short story that fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.sim.scenario import Fault, JobPlan, Scenario

Item = TypeVar("Item")
Fails = Callable[[Scenario], bool]


def shrink(scenario: Scenario, fails: Fails) -> Scenario:
    """Fewer faults, then fewer jobs, then fewer workers, as long as `fails` says that it still does."""

    def with_faults(faults: Sequence[Fault]) -> Scenario:
        return replace(scenario, faults=tuple(faults))

    scenario = with_faults(fewer(scenario.faults, lambda faults: fails(with_faults(faults))))
    jobs = fewer(scenario.jobs, lambda jobs: fails(with_jobs(scenario, jobs)))
    scenario = with_jobs(scenario, jobs)
    workers = fewer(tuple(scenario.nodes), lambda names: bool(names) and fails(with_workers(scenario, names)))
    return with_workers(scenario, workers)


def fewer(items: Sequence[Item], fails: Callable[[Sequence[Item]], bool]) -> Sequence[Item]:
    """Leave out ever smaller pieces (Zeller's delta debugging, without its complements)."""
    size = len(items)
    while size:
        start = 0
        while start < len(items):
            rest = [*items[:start], *items[start + size :]]
            if fails(rest):
                items = rest
            else:
                start += size
        size //= 2
    return items


def with_jobs(scenario: Scenario, jobs: Sequence[JobPlan]) -> Scenario:
    """What was done to a job that is gone goes too."""
    names = {plan.name for plan in jobs}
    faults = tuple(fault for fault in scenario.faults if getattr(fault, "job", None) in names | {None})
    return replace(scenario, jobs=tuple(jobs), faults=faults)


def with_workers(scenario: Scenario, names: Sequence[str]) -> Scenario:
    nodes = {name: node for name, node in scenario.nodes.items() if name in names}
    faults = tuple(
        fault
        for fault in scenario.faults
        if getattr(fault, "worker", None) in nodes.keys() | {None}
        and getattr(fault, "node", None) in {*nodes.values(), None}
    )
    return replace(scenario, nodes=nodes, faults=faults)


def story(scenario: Scenario) -> str:
    """What happens, a line each."""
    lines = [repr(entry) for entry in sorted((*scenario.jobs, *scenario.faults), key=lambda entry: entry.at)]
    return "\n".join((f"seed {scenario.seed}, workers {', '.join(scenario.nodes)}, {scenario.slots} slots", *lines))
