"""Scenarios as data: the jobs and what each does to its worker, the machines, and the faults with their times."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from schemas.errors import ErrorKind
from schemas.stage import STAGES, Stage

FAULTY_SECONDS, DRAIN_GRACE = 60.0, 5.0
"""Faults begin within so many seconds, and jobs arrive in the first half of them; where a size does not say other."""
EARLY = FAULTY_SECONDS / 2
"""How much earlier than the prompt its repetition may come: so little that what it leads to is still known."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """`kills`: the stage and step at which it kills its process. `fails`: the stage, the kind, and how often.

    `rots`: the stage whose output is corrupt each time it is read. `steps`: of its denoise, half a second each.
    """

    name: str
    at: float
    prompt: str
    priority: int = 0
    kills: tuple[Stage, int] | None = None
    fails: tuple[Stage, ErrorKind, int] | None = None
    rots: Stage | None = None
    steps: int = 20


# -- faults: `at` is seconds after the start; workers, jobs and nodes are named ------------------------------------


@dataclass(frozen=True)
class KillWorker:
    at: float
    worker: str
    back_after: float | None


@dataclass(frozen=True)
class LoseNode:
    at: float
    node: str
    back_after: float


@dataclass(frozen=True)
class PauseWorker:
    """Stopped and continued: it goes on as if nothing had been."""

    at: float
    worker: str
    seconds: float


@dataclass(frozen=True)
class CutOff:
    """The worker works on; nothing gets to it or from it, then all of it at once."""

    at: float
    worker: str
    seconds: float


@dataclass(frozen=True)
class LoseStore:
    """The worker does not reach the store: what it finishes waits on its disk."""

    at: float
    worker: str
    seconds: float


@dataclass(frozen=True)
class StallInbox:
    """One of its inboxes is not read for a while."""

    at: float
    worker: str
    stage: Stage
    seconds: float


@dataclass(frozen=True)
class DropLease:
    """A worker forgets what it holds, and says nothing of it."""

    at: float
    worker: str


@dataclass(frozen=True)
class DrainWorker:
    at: float
    worker: str
    back_after: float


@dataclass(frozen=True)
class AskToLeave:
    """An operator has a worker drained, through the coordinator."""

    at: float
    worker: str
    back_after: float


@dataclass(frozen=True)
class KillCoordinator:
    """`moment`: now, or at the next commit, before the log has it or after (then memory never learns of it)."""

    at: float
    moment: Literal["now", "before_commit", "after_commit"]
    back_after: float


@dataclass(frozen=True)
class PauseCoordinator:
    """`taken_over`: a standby begins meanwhile, so the paused one wakes up fenced."""

    at: float
    seconds: float
    taken_over: bool


@dataclass(frozen=True)
class AbortCommits:
    at: float
    count: int


@dataclass(frozen=True)
class StepClock:
    """The wall clock of the coordinator jumps."""

    at: float
    seconds: float


@dataclass(frozen=True)
class ReplayPrompts:
    """The prompts are read again from the start."""

    at: float


@dataclass(frozen=True)
class RepeatPrompt:
    """Sent again, maybe with another body."""

    at: float
    job: str
    changed: bool


@dataclass(frozen=True)
class CancelJob:
    at: float
    job: str


@dataclass(frozen=True)
class LoseArtifact:
    at: float
    job: str
    stage: Stage


@dataclass(frozen=True)
class BreakStage:
    """Every task of a stage fails for a while, whatever its job: a bad bundle, a driver that is gone. Never drawn."""

    at: float
    stage: Stage
    kind: ErrorKind
    seconds: float


@dataclass(frozen=True)
class PoisonOutcome:
    """The next outcome that is reported makes the core raise."""

    at: float


WorkerFault = (
    KillWorker | LoseNode | PauseWorker | CutOff | LoseStore | StallInbox | DropLease | DrainWorker | AskToLeave
)
CoordinatorFault = KillCoordinator | PauseCoordinator | AbortCommits | StepClock
RecordFault = ReplayPrompts | RepeatPrompt | CancelJob | LoseArtifact | PoisonOutcome | BreakStage
Fault = WorkerFault | CoordinatorFault | RecordFault


@dataclass(frozen=True)
class Scenario:
    """`nodes` maps worker to node."""

    seed: int
    jobs: tuple[JobPlan, ...]
    nodes: dict[str, str]
    faults: tuple[Fault, ...] = ()
    slots: int = 1
    kills_take: Literal["worker", "node"] = "worker"
    """What a job that kills takes down."""
    latency: float = field(default=0.02)
    """Seconds, on average, between a record's writing and its reading."""
    faulty_seconds: float = FAULTY_SECONDS
    beat_seconds: float = 3.0
    readers_an_inbox: int = 4


@dataclass(frozen=True)
class Size:
    """`faults`: at most so many. `rare`: of those that make the coordinator read again all that is kept, at most."""

    workers: int
    jobs: int
    faults: int
    workers_a_node: int = 2
    rare: int | None = None
    harm: float = 1.0
    """How many jobs do harm, as a share of what small sizes have."""
    steps: int = 20
    arrival_seconds: float = FAULTY_SECONDS / 2
    faulty_seconds: float = FAULTY_SECONDS
    beat_seconds: float = 3.0
    readers_an_inbox: int = 4


SMALL = Size(workers=3, jobs=10, faults=6)
MEDIUM = Size(workers=30, jobs=200, faults=40, workers_a_node=5)
LARGE = Size(workers=200, jobs=2000, faults=120, workers_a_node=8)
SIZES = {"small": SMALL, "medium": MEDIUM, "large": LARGE}
"""What people name; others are put together where they are needed."""

KINDS = (ErrorKind.TRANSIENT, ErrorKind.INFRASTRUCTURE, ErrorKind.RESOURCE, ErrorKind.INVALID_JOB, ErrorKind.BUG)


def draw(seed: int, size: Size) -> Scenario:
    """A scenario that depends on its seed and size alone."""
    chance = random.Random(seed)
    names = [f"w{number}" for number in range(size.workers)]
    nodes = {name: f"n{number // size.workers_a_node}" for number, name in enumerate(names)}
    jobs = tuple(draw_job(chance, number, size) for number in range(size.jobs))
    count = chance.randint(0, size.faults)
    found = sorted((draw_fault(chance, nodes, jobs, size) for _ in range(count)), key=lambda fault: fault.at)
    return Scenario(
        seed, jobs, nodes, tuple(thinned(found, size.rare)), slots=chance.choice((1, 1, 2, 3)),
        latency=chance.choice((0.01, 0.1, 0.8)), faulty_seconds=size.faulty_seconds, beat_seconds=size.beat_seconds,
        readers_an_inbox=size.readers_an_inbox,
    )  # fmt: skip


def thinned(found: list[Fault], rare: int | None) -> list[Fault]:
    """Evenly: a coordinator that is always starting again gets nothing done."""
    heavy = [fault for fault in found if isinstance(fault, CoordinatorFault | ReplayPrompts)]
    if rare is None or len(heavy) <= rare:
        return found
    kept = {id(heavy[number * len(heavy) // rare]) for number in range(rare)}
    return [fault for fault in found if id(fault) in kept or not isinstance(fault, CoordinatorFault | ReplayPrompts)]


def draw_job(chance: random.Random, number: int, size: Size) -> JobPlan:
    """Most do no harm; of these, three share a prompt, so the output of their first stage."""
    stage = chance.choice(STAGES)
    harm = chance.random() / size.harm
    return JobPlan(
        name=f"j{number}",
        at=chance.uniform(0, size.arrival_seconds),
        prompt=f"a red square, take {number}" if harm < 0.17 else f"a blue disc, take {number // 3}",
        priority=chance.choice((0, 0, 0, 5)),
        kills=(Stage.DENOISE, chance.choice((0, 0, 7))) if harm < 0.03 else None,
        fails=(stage, chance.choice(KINDS), chance.randint(1, 4)) if 0.03 <= harm < 0.15 else None,
        rots=chance.choice(STAGES[:3]) if 0.15 <= harm < 0.17 else None,
        steps=size.steps,
    )


def draw_fault(chance: random.Random, nodes: dict[str, str], jobs: tuple[JobPlan, ...], size: Size) -> Fault:
    """What is done to a job is done while it is known."""
    at = chance.uniform(0, size.faulty_seconds)
    worker, job, stage = chance.choice(list(nodes)), chance.choice(jobs), chance.choice(STAGES)
    soon, long = chance.uniform(0.5, 5), chance.uniform(9, 40)
    choices: list[Fault] = [
        KillWorker(at, worker, chance.choice((soon, long, None))),
        LoseNode(at, nodes[worker], long),
        PauseWorker(at, worker, chance.choice((soon, long))),
        CutOff(at, worker, chance.choice((soon, long))),
        StallInbox(at, worker, stage, long),
        DropLease(at, worker),
        DrainWorker(at, worker, soon),
        AskToLeave(at, worker, soon),
        *(KillCoordinator(at, moment, soon) for moment in ("now", "before_commit", "after_commit")),
        PauseCoordinator(at, chance.choice((soon, long)), chance.random() < 0.5),
        AbortCommits(at, chance.randint(1, 3)),
        StepClock(at, chance.uniform(-30, 30)),
        ReplayPrompts(at),
        RepeatPrompt(max(min(at, job.at + FAULTY_SECONDS), job.at - EARLY), job.name, chance.random() < 0.5),
        CancelJob(chance.uniform(max(job.at - 5, 0), min(at, FAULTY_SECONDS) + job.at), job.name),
        LoseArtifact(min(at, job.at + FAULTY_SECONDS), job.name, stage),
        PoisonOutcome(at),
    ]
    return chance.choice(choices)
