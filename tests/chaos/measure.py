"""What a chaos run came to, from what the line wrote: ends, compute done twice, time from a fault to recovery."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.events.completions import Completion
from schemas.events.progress import StepProgress
from schemas.job import Attempt, JobState
from schemas.stage import Stage
from tests.chaos.victims import Hit

EVERYBODY = ("coordinator", "coordinator and worker", "kafka")
"""Whoever waits is affected when one of these dies."""


@dataclass(frozen=True)
class Work:
    """Compute seconds. `redone`: denoise steps computed once more, and attempts of other stages that gave nothing.

    `steps_seen`: share of the denoise steps of completed jobs of which `progress` told; it is best effort.
    """

    useful: float
    redone: float
    steps_seen: float

    @property
    def redone_of_total(self) -> float:
        return self.redone / max(self.useful + self.redone, 1e-9)


def work(states: Iterable[JobState], steps: Iterable[StepProgress]) -> Work:
    first, seconds, repeated = dict[str, set[int]](), 0.0, 0.0
    for step in steps:
        if step.stage is not Stage.DENOISE:
            continue
        known, took = first.setdefault(step.job, set()), step.step_seconds or 0.0
        repeated += took if step.step in known else 0.0
        seconds += 0.0 if step.step in known else took
        known.add(step.step)
    useful, redone, wanted, seen = seconds, repeated, 0, 0
    for state in states:
        others = [record for stage, record in state.stages.items() if stage is not Stage.DENOISE]
        useful += sum(record.seconds for record in others)
        redone += sum(record.wasted_seconds for record in others)
        if state.video is not None and state.recipe is not None and not state.stages[Stage.DENOISE].reused:
            wanted += state.recipe.num_inference_steps
            seen += len(first.get(state.job, ()))
    return Work(useful, redone, seen / max(wanted, 1))


def recoveries(hits: Sequence[Hit], histories: Mapping[str, Sequence[JobState]]) -> dict[str, list[float]]:
    """By kind of fault, seconds from each hit to the next dispatch of what it affected.

    A worker's: each job whose lease ended without result because of it. A coordinator's or the broker's: the first
    dispatch of anything, where something waited at the time.
    """
    found: dict[str, list[float]] = {}
    for hit in hits:
        affected = any_dispatch if hit.fault.kind.what in EVERYBODY else own_dispatches
        found.setdefault(hit.fault.kind.name, []).extend(affected(hit, histories))
    return {kind: seconds for kind, seconds in found.items() if seconds}


def own_dispatches(hit: Hit, histories: Mapping[str, Sequence[JobState]]) -> Iterator[float]:
    for history in histories.values():
        attempts = dispatches(history[-1])
        for attempt, successor in pairwise(attempts):
            is_hit = attempt.worker in hit.victims and attempt.dispatched_at <= hit.at <= attempt.ended_at
            if is_hit and attempt.outcome != "done" and attempt.stage is successor.stage:
                yield successor.dispatched_at - hit.at


def dispatches(state: JobState) -> list[Attempt]:
    """Ended leases and the one in force, oldest first."""
    lease = state.lease
    running = () if lease is None else (Attempt(
        stage=lease.stage, lease=lease.number, worker=lease.worker, outcome="running",
        dispatched_at=lease.dispatched_at, ended_at=lease.dispatched_at,
    ),)  # fmt: skip
    return [*state.attempts, *running]


def any_dispatch(hit: Hit, histories: Mapping[str, Sequence[JobState]]) -> Iterator[float]:
    if any(was_waiting(history, hit.at) for history in histories.values()):
        moments = (each.dispatched_at for history in histories.values() for each in dispatches(history[-1]))
        later = [moment - hit.at for moment in moments if moment > hit.at]
        yield from [min(later)] if later else []


def was_waiting(history: Sequence[JobState], moment: float) -> bool:
    before = [state for state in history if state.updated_at <= moment]
    return bool(before) and not before[-1].status.ended and before[-1].lease is None


def standstill(sent: Mapping[str, float], histories: Mapping[str, Sequence[JobState]], until: float) -> float:
    """Seconds: the longest time in which one of these jobs waited for its first task and none of them got one.

    `sent`: when the prompt of each job was sent, unix seconds, so that a prompt that nobody reads counts as waiting.
    """
    latest = {job: histories[job][-1] for job in sent if job in histories}
    begun = sorted(each.dispatched_at for state in latest.values() for each in dispatches(state))
    waits = [(at, first_event(latest.get(job), until)) for job, at in sent.items()]
    gaps = pairwise([min(sent.values(), default=until), *begun, until])
    return max((min(end, b) - max(at, a) for a, b in gaps for at, end in waits), default=0.0)


def first_event(state: JobState | None, until: float) -> float:
    """When the job got its first task, or ended without one."""
    if state is None:
        return until
    moments = [each.dispatched_at for each in dispatches(state)]
    return min(moments, default=state.ended_at or until)


@dataclass(frozen=True)
class Ends:
    """Of the jobs that were asked for: how each ended. `lost` have no completion, `doubled` have more than one."""

    asked: int
    by_type: dict[str, int]
    lost: tuple[str, ...]
    doubled: tuple[str, ...]

    @property
    def completions(self) -> int:
        return sum(self.by_type.values())


def ends_of(asked: Iterable[str], completions: Sequence[Completion]) -> Ends:
    wanted, told = set(asked), Counter(end.job for end in completions)
    return Ends(
        asked=len(wanted),
        by_type=dict(Counter(type(end).__name__ for end in completions)),
        lost=tuple(sorted(wanted - told.keys())),
        doubled=tuple(sorted(job for job, count in told.items() if count > 1)),
    )  # fmt: skip


def middle(seconds: Sequence[float]) -> float:
    return statistics.median(seconds) if seconds else 0.0
