"""What a coordinator carries with its transactions: `make bench-coordinator`.

The real coordinator process on a real broker; workers are played by this process and answer each task at once. A
transition is one version of a job's state: 13 for a job that nothing befalls. Rates are by wall time, in which broker,
players and coordinator share the cores, and by the CPU time of the coordinator alone.

The pure core is measured without a broker: validated events in, effects and a committed ledger out. What it costs to
read events from their records and to encode what comes out has rows of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from infra.local.plan import settings_in
from infra.local.stack import Stack
from runtime.settings import Settings
from schemas import envelope, store_layout
from schemas.base import Frozen
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.completions import JobCompleted
from schemas.events.prompts import PromptSubmitted
from schemas.events.reports import Done, Heartbeat, Inbox, Started
from schemas.events.tasks import Task
from schemas.stage import STAGES, Stage
from schemas.stage_keys import job_id
from streams.kafka import clients
from streams.kafka.addressing import extensions_of
from streams.kafka.topics import COMPLETIONS, PROMPTS, REPORTS, TASKS
from streams.worker.loop.active_tasks import fields_of
from tests.bench import ended
from tests.bench.report import last_line, table, write_section
from tests.processes import Service
from tests.sim.speed import collecting_rarely, measure_jobs

TITLE = "The coordinator with its transactions"
TRANSITIONS_A_JOB = 1 + 3 * len(STAGES)
PURE_WORKERS, PURE_JOBS = 1000, 3000
BATCH, WAIT_S, BEAT_SECONDS, PATIENCE_S = 500, 0.02, 1.5, 180.0


@dataclass
class Fleet:
    """Workers without compute: what is asked of them is done at once, and each says so in order."""

    settings: Settings
    workers: int
    slots: int
    ended: dict[str, JobCompleted] = field(default_factory=dict)
    echoes: dict[tuple[str, Stage], int] = field(default_factory=dict)
    _said: int = 0
    _beat_at: float = 0.0

    def __post_init__(self) -> None:
        # One producer for everybody: what a worker says stays in order, and so does what all say.
        self._producer = clients.producer(clients.REPORTER, self.settings)
        self._consumer = clients.consumer(clients.READER, self.settings, enable_partition_eof=False)
        self._consumer.assign([
            TopicPartition(topic.named(self.settings.topic_prefix), partition, OFFSET_BEGINNING)
            for topic in (*TASKS.values(), COMPLETIONS)
            for partition in range(topic.partitions)
        ])  # fmt: skip

    def submit(self, name: str, jobs: int) -> set[str]:
        for number in range(jobs):
            asked = PromptSubmitted(prompt=f"a red square, take {number}", idempotency_key=f"{name}-{number}")
            self._produce(PROMPTS.named(self.settings.topic_prefix), asked, -1)
        return {job_id("default", f"{name}-{number}") for number in range(jobs)}

    def work_until(self, jobs: set[str]) -> list[JobCompleted]:
        """Raises `TimeoutError`."""
        deadline = time.monotonic() + PATIENCE_S
        while not jobs <= self.ended.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(jobs)} jobs did not end within {PATIENCE_S:.0f} s")
            for message in self._consumer.consume(BATCH, WAIT_S):
                self._take(message)
            self._beat()
            self._producer.poll(0)
        return [self.ended[job] for job in jobs]

    def _take(self, message: Message) -> None:
        clients.raise_for(message.error())
        event, _ = envelope.read(message.value(), clients.headers_of(message))
        if isinstance(event, Task):
            self.echoes[event.incarnation, event.stage] = event.lease
            for answer in answers(event):
                self._produce(REPORTS.named(self.settings.topic_prefix), answer, 0)
        elif isinstance(event, JobCompleted):
            self.ended[event.job] = event

    def _beat(self) -> None:
        if time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + BEAT_SECONDS
        for number in range(self.workers):
            self._produce(REPORTS.named(self.settings.topic_prefix), self._heartbeat(number), 0)

    def _heartbeat(self, number: int) -> Heartbeat:
        name = f"w{number}"
        inboxes = tuple(
            Inbox(
                stage=stage, partition=number % TASKS[stage].partitions, echo=self.echoes.get((f"{name}.1", stage), 0)
            )
            for stage in STAGES
        )
        return Heartbeat(
            incarnation=f"{name}.1", worker=name, node=f"n{number // 8}", started_at=1.0, inboxes=inboxes,
            slots=self.slots, bundles=("tiny",), loaded=tuple(f"{stage}/tiny" for stage in STAGES), bit_class="cpu",
        )  # fmt: skip

    def _produce(self, topic: str, event: Frozen, partition: int) -> None:
        self._said += 1
        value, headers = envelope.write(
            event, id=f"bench-{self._said}", source="bench", time=time.time(), extensions=extensions_of(event)
        )
        while True:
            try:
                self._producer.produce(topic, value, "default", partition, headers=[*headers])
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def close(self) -> None:
        self._consumer.close()


def answers(task: Task) -> tuple[Started, Done]:
    fields = fields_of(task, task.incarnation.partition(".")[0])
    place = store_layout.folder(task.tenant, task.stage, task.key, task.job)
    ref = ArtifactRef(
        stage=task.stage, key=task.key, manifest_key=f"{place}/{store_layout.MANIFEST}", etag=str(task.lease)
    )  # fmt: skip
    video = ObjectRef(name="video", key=f"{place}/v.mp4", size=1, sha256="0" * 64)
    return Started(**fields), Done(**fields, artifact=ref, objects=(video,), seconds=1.0)


@dataclass(frozen=True)
class Measured:
    jobs: int
    wall_s: float
    cpu_s: float

    @property
    def transitions(self) -> int:
        return self.jobs * TRANSITIONS_A_JOB

    def figures(self) -> dict[str, object]:
        return {
            "jobs": self.jobs, "wall_s": round(self.wall_s, 2), "coordinator_cpu_s": round(self.cpu_s, 2),
            "transitions_per_s": round(self.transitions / self.wall_s),
            "transitions_per_cpu_s": round(self.transitions / self.cpu_s),
        }  # fmt: skip


def measure(fleet: Fleet, pid: int, jobs: int) -> Measured:
    """All prompts at once; from the first of them to the last completion."""
    process = psutil.Process(pid)
    before, start = sum(process.cpu_times()[:2]), time.monotonic()
    ends = fleet.work_until(fleet.submit(f"measured-{jobs}", jobs))
    wall, cpu = time.monotonic() - start, sum(process.cpu_times()[:2]) - before
    assert all(stage.attempts == 1 for end in ends for stage in end.stages), "a lease was lost on the way"
    return Measured(jobs, wall, cpu)


@contextmanager
def broker() -> Iterator[Settings]:
    """Servers of their own, and nothing else."""
    with TemporaryDirectory(prefix="latentline-bench-") as folder:
        stack = Stack(Path(folder) / "stack")
        stack.up(services=(), any_ports=True, stays=False)
        try:
            yield settings_in(stack.environment(), Settings()).model_copy(update={"data_dir": Path(folder)})
        finally:
            stack.down(wipe=True)


def run(settings: Settings, workers: int, slots: int, jobs: int) -> Measured:
    service = Service(settings, "coordinator", "coordinator").start().wait_ready()
    fleet = Fleet(settings, workers, slots)
    try:
        fleet.work_until(fleet.submit("warm", 200))
        assert service.popen is not None
        return measure(fleet, service.popen.pid, jobs)
    finally:
        fleet.close()
        service.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--ended", type=int, default=100_000, help="ended jobs that a coordinator takes over")
    parser.add_argument("--uncompacted", type=int, default=10_000, help="jobs of a log that was never compacted")
    parser.add_argument("--rounds", type=int, default=3, help="takeovers of each side")
    parser.add_argument("--no-page", action="store_true", help="leave docs/benchmarks.md alone")
    asked = parser.parse_args()
    with collecting_rarely():
        core = measure_jobs(PURE_WORKERS, PURE_JOBS)
    pure = round(core["transitions_per_s"])
    with broker() as settings:
        measured = run(settings, asked.workers, asked.slots, asked.jobs)
        known = ended.run(settings, asked.ended, asked.rounds, asked.uncompacted)
    figures = measured.figures() | {
        "workers": asked.workers, "slots": asked.slots, "pure_transitions_per_s": pure
    }  # fmt: skip
    rows = [
        ("jobs, all at once", measured.jobs),
        ("played workers, slots each", f"{asked.workers}, {asked.slots}"),
        ("job transitions a second, by wall time", figures["transitions_per_s"]),
        ("job transitions a second of the coordinator's CPU time", figures["transitions_per_cpu_s"]),
        ("first prompt to last completion", f"{measured.wall_s:.1f} s"),
        ("the pure core, of validated events: decide, place, commit; a second of CPU time", pure),
        ("the same, with events decoded from their records and validated", round(core["transitions_per_s_decoded"])),
        ("the same, also with its records encoded", round(core["transitions_per_s_encoded"])),
    ]
    body, ended_body = table(("what", "figure"), rows), ended.body_of(known)
    if not asked.no_page:
        write_section(TITLE, "make bench-coordinator", body)
        write_section(ended.TITLE, "make bench-coordinator", ended_body)
    print(body)
    print(ended_body)
    print(last_line(figures | known.figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
