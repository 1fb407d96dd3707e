"""What the pure core costs, in seconds of one core: `python -m tests.sim.speed`. Last line: the figures as JSON."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from schemas import envelope, store_layout
from schemas.base import Frozen
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.prompts import PromptSubmitted
from schemas.events.reports import Done, Heartbeat, HeldLease, HeldState, Inbox, Started, Tick
from schemas.events.tasks import Task
from schemas.job import JobState
from schemas.stage import STAGES
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import Effect, Send
from streams.coordinator.core.records import Writer
from streams.coordinator.core.state.ledger import Ledger
from streams.kafka.addressing import extensions_of
from streams.kafka.topics import PROMPTS, REPORTS
from streams.worker.loop.active_tasks import fields_of
from tests.sim.driver import load_record
from tests.sim.simulator import POLICY

BATCH = 500
BEAT_SECONDS = 3.0


@dataclass
class Cell:
    """A core whose workers answer at once. Only its own work is timed, in seconds of CPU time.

    `reading`: JSON and headers to validated events. `deciding`: the pure core, from events to effects and back to a
    committed ledger. `writing`: effects and states to the records of a transaction.
    """

    ledger: Ledger = field(default_factory=Ledger)
    now: float = 1_000_000.0
    reading: float = 0.0
    deciding: float = 0.0
    writing: float = 0.0
    ended: list[JobState] = field(default_factory=list)

    def turn(self, events: Iterable[Frozen]) -> list[Task]:
        """One batch; the tasks that it hands out."""
        records = [record_of(event, number, self.now) for number, event in enumerate(events)]
        start = time.process_time()
        events_read = [(record, *envelope.read(record.value, record.headers)) for record in records]
        read = time.process_time()
        effects: list[Effect] = []
        for record, event, attributes in events_read:
            effects += dispatch.decide(self.ledger, POLICY, record, event, attributes, self.now)
        effects += dispatch.place(self.ledger, self.now)
        decided = time.process_time()
        writer = Writer(0, POLICY.coordinator, self.now)
        dispatch.written(self.ledger, writer, effects)
        written = time.process_time()
        self.ended += [state for state in self.ledger.jobs.changes.values() if state is not None and state.status.ended]
        self.ledger.commit()
        self.reading += read - start
        self.deciding += time.process_time() - written + decided - read
        self.writing += written - decided
        self.now += 0.1
        return [e.event for e in effects if isinstance(e, Send) and isinstance(e.event, Task)]


def record_of(event: Frozen, number: int, now: float) -> Record:
    topic = PROMPTS if isinstance(event, PromptSubmitted) else REPORTS
    value, headers = envelope.write(event, id=str(number), source="speed", time=now, extensions=extensions_of(event))
    return Record(topic.name, 0, number, value, headers)


def beat(number: int, task: Task | None = None) -> Heartbeat:
    echo = task.lease if task else 0
    lease = (HeldLease(lease=task.lease, job=task.job, stage=task.stage, state=HeldState.RUNNING),) if task else ()
    return Heartbeat(
        incarnation=f"w{number}.1", worker=f"w{number}", node=f"n{number // 8}", started_at=1.0,
        inboxes=tuple(Inbox(stage=stage, partition=number % 128, echo=echo) for stage in STAGES), slots=1,
        leases=lease, bundles=("tiny",), loaded=tuple(f"{stage}/tiny" for stage in STAGES), bit_class="cpu",
    )  # fmt: skip


def answers(task: Task) -> tuple[Started, Done]:
    fields = fields_of(task, task.incarnation.partition(".")[0])
    place = store_layout.folder(task.tenant, task.stage, task.key, task.job)
    manifest = f"{place}/{store_layout.MANIFEST}"
    ref = ArtifactRef(stage=task.stage, key=task.key, manifest_key=manifest, etag=str(task.lease))
    video = ObjectRef(name="video", key=f"{place}/v", size=1, sha256="0")
    return Started(**fields), Done(**fields, artifact=ref, objects=(video,), seconds=1.0)


def prompts(count: int) -> list[PromptSubmitted]:
    return [PromptSubmitted(prompt=f"a red square, take {n}", idempotency_key=f"job-{n}") for n in range(count)]


def batches(events: list[Frozen]) -> Iterable[list[Frozen]]:
    for start in range(0, len(events), BATCH):
        yield events[start : start + BATCH]


def cell_of(workers: int) -> Cell:
    cell = Cell()
    for batch in batches([beat(number) for number in range(workers)]):
        cell.turn(batch)
    return cell


def measure_jobs(workers: int, jobs: int) -> dict[str, float]:
    """All jobs through all stages. A transition is one version of a job's state."""
    cell = cell_of(workers)
    cell.reading = cell.deciding = cell.writing = 0.0
    pending: list[Frozen] = list(prompts(jobs))
    while pending:
        batch, pending = pending[:BATCH], pending[BATCH:]
        pending += [answer for task in cell.turn(batch) for answer in answers(task)]
    states = cell.ended
    assert len(states) == jobs == len(cell.ledger.ended)
    transitions = sum(state.version for state in states)
    return {
        "transitions_per_s": transitions / cell.deciding,
        "transitions_per_s_decoded": transitions / (cell.reading + cell.deciding),
        "transitions_per_s_encoded": transitions / (cell.reading + cell.deciding + cell.writing),
        "replay_us_per_job": replay_seconds(states) / jobs * 1e6,
    }


def replay_seconds(states: list[JobState]) -> float:
    values = [state.to_bytes() for state in states]

    def replay() -> None:
        ledger = Ledger()
        for state, value in zip(states, values, strict=True):
            load_record(ledger, state.job, value)
        ledger.take_over()

    return seconds_of(replay)


def measure_workers(workers: int) -> dict[str, float]:
    """A cell in which every worker holds a lease."""
    cell = cell_of(workers)
    tasks = [task for batch in batches(list(prompts(workers))) for task in cell.turn(batch)]
    assert len(tasks) == workers
    for batch in batches([answers(task)[0] for task in tasks]):
        cell.turn(batch)
    holders = {int(task.incarnation[1:].partition(".")[0]): task for task in tasks}
    cell.reading = cell.deciding = 0.0
    for batch in batches([beat(number, holders[number]) for number in range(workers)]):
        cell.turn(batch)
    tick = Tick(cell=0, coordinator=POLICY.coordinator, number=1)
    return {
        "heartbeat_us": (cell.reading + cell.deciding) / workers * 1e6,
        "heartbeats_share_of_core": (cell.reading + cell.deciding) / BEAT_SECONDS,
        "tick_ms": 1e3 * seconds_of(lambda: cell.turn([tick])),
    }


def measure_idle(workers: int) -> dict[str, float]:
    cell = cell_of(workers)
    return {"place_one_ms": 1e3 * seconds_of(lambda: cell.turn(prompts(1)))}


def seconds_of(act: Callable[[], object]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


MEANINGS = {
    "transitions_per_s": "job transitions a second, of events read already: decide, place, commit",
    "transitions_per_s_decoded": "the same, with the events read from their records and validated",
    "transitions_per_s_encoded": "the same, also with the records of each batch encoded",
    "replay_us_per_job": "replay of the changelog, microseconds a job",
    "heartbeat_us": "a heartbeat, microseconds",
    "heartbeats_share_of_core": f"all heartbeats, one a worker each {BEAT_SECONDS:g} s: share of the core",
    "tick_ms": "a tick with every worker busy, milliseconds",
    "place_one_ms": "a prompt to its task with every worker idle, milliseconds",
}


def measure(workers: int, jobs: int) -> dict[str, float]:
    return measure_jobs(workers, jobs) | measure_workers(workers) | measure_idle(workers)


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Python's cycle collector walks all jobs and workers again and again, and finds nothing: they have no cycles."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=5_000)
    asked = parser.parse_args()
    usual = measure(asked.workers, asked.jobs)
    with collecting_rarely():
        rare = measure(asked.workers, asked.jobs)
    table = Table(title=f"the pure core: {asked.workers} workers, {asked.jobs} jobs, batches of {BATCH}")
    table.add_column("what")
    table.add_column("collector as it comes", justify="right")
    table.add_column("collecting rarely", justify="right")
    for name, meaning in MEANINGS.items():
        table.add_row(meaning, short(usual[name]), short(rare[name]))
    Console().print(table)
    print(json.dumps({"workers": asked.workers, "jobs": asked.jobs, "usual": usual, "collecting_rarely": rare}))


def short(figure: float) -> str:
    return f"{figure:,.3g}" if figure < 100 else f"{figure:,.0f}"


if __name__ == "__main__":
    main()
