"""What ended jobs cost: memory of a coordinator that knows them, how long it takes to take over, and when a gateway
that begins with an empty view is ready. Part of `make bench-coordinator`.

Both sides of a comparison are on one broker, under topic prefixes of their own, and take turns. A takeover lasts from
the start of the process (or from the end of the active one, where a standby has followed) to the line in its log that
says that the cell is its own; memory is what is resident then.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psutil

from infra.local import topics
from runtime.settings import Settings
from schemas import envelope
from schemas.events.reports import Started
from schemas.job import JobState
from schemas.stage import STAGES
from streams.kafka import clients
from streams.kafka.topics import JOBS
from tests.bench.report import Spread, table
from tests.processes import Service
from tests.sim.played_line import Line, done, names
from tests.support import eventually

TITLE = "Ended jobs"
OURS = "the cell is ours"
DAYS_S = 7 * 24 * 3600.0
WORDS = ("a", "red", "blue", "green", "square", "circle", "river", "over", "hill", "slowly", "turning", "dark", "glass")
WITHIN_S = 300.0
MIB = 2**20
VERSIONS = 1 + 3 * len(STAGES)
"""Of a job that nothing befalls."""


@dataclass
class Side:
    """The coordinator of one `jobs`: seconds and MiB of each of its takeovers."""

    settings: Settings
    records: int
    bytes: int
    cold: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def service(self, name: str) -> Service:
        return Service(self.settings, name, "coordinator")

    def take_over_cold(self, number: int) -> None:
        service = self.service(f"cold-{number}")
        start = time.monotonic()
        service.start()
        try:
            self.cold.append(ours_at(service) - start)
            self.memory.append(resident(service))
        finally:
            service.kill()

    def take_over_followed(self, number: int) -> None:
        """A standby that has read all there was, after an orderly end of the active one."""
        active, standby = self.service(f"active-{number}"), self.service(f"standby-{number}")
        active.start()
        try:
            ours_at(active)
            standby.start().wait_ready(WITHIN_S)
            start = time.monotonic()
            active.send_signal(15)
            self.followed.append(ours_at(standby) - start)
        finally:
            active.kill()
            standby.kill()


def ours_at(service: Service) -> float:
    """When it says that the cell is its own: seconds on the monotonic clock."""
    eventually(lambda: OURS in service.log_file.read_text(), WITHIN_S)
    return time.monotonic()


def resident(service: Service) -> float:
    assert service.popen is not None
    return float(psutil.Process(service.popen.pid).memory_info().rss) / MIB


# -- a log of ended jobs -------------------------------------------------------------------------------------------


def versions_of_a_job() -> list[JobState]:
    """Every state of a job that nothing befalls, as the core makes them."""
    line, states = Line(), list[JobState]()

    def keep(step: object) -> None:
        states.extend(state for state in line.ledger.jobs.changes.values() if state is not None)
        line.commit()

    keep(line.submit())
    for _ in STAGES:
        line.beat("a")
        task = line.task()
        keep(task)
        keep(line.report(Started(**names(task))))
        keep(line.report(done(task)))
    return states


class Own(NamedTuple):
    """What one job has of its own."""

    job: str
    tenant: str
    digest: str
    keys: dict[str, str]
    prompt: str
    lease: int
    time: float


class Jobs:
    """Records of as many jobs as are asked for, each with its own id, keys, prompt and times, over a week."""

    def __init__(self, settings: Settings, seed: int = 1) -> None:
        self._chance, self._topic = random.Random(seed), JOBS.named(settings.topic_prefix)
        self._producer = clients.producer(clients.PRODUCER, settings, queue_buffering_max_messages=100_000)
        self._states = [orjson.loads(state.to_bytes()) for state in versions_of_a_job()]
        _, self._headers = envelope.write(versions_of_a_job()[-1], id="bench", source="bench", time=1.8e9)
        self.bytes = self.records = self._leases = 0

    def write(self, jobs: int, versions: int) -> None:
        """The last `versions` of each; all of a thousand jobs are under way at a time."""
        for first in range(0, jobs, 1000):
            known = [self._own((first + number) / jobs) for number in range(min(1000, jobs - first))]
            for state in self._states[-versions:]:
                for own in known:
                    self._put(own.job, self._of(state, own))
        assert self._producer.flush(WITHIN_S) == 0

    def _own(self, age: float) -> Own:
        self._leases += len(STAGES)
        chance = self._chance
        return Own(
            job=f"video_{UUID(int=chance.getrandbits(128)).hex}",
            tenant=f"tenant-{chance.randrange(100)}",
            digest=chance.randbytes(32).hex(),
            keys={str(stage): chance.randbytes(32).hex() for stage in STAGES},
            prompt=" ".join(chance.choices(WORDS, k=24)),
            lease=self._leases,
            time=time.time() - DAYS_S * (1 - age),
        )

    def _of(self, state: dict[str, Any], own: Own) -> bytes:
        """The state as one of this job's: what differs from job to job is its own."""
        stages = {stage: record | {"key": own.keys[stage]} for stage, record in state["stages"].items()}
        attempts = [
            past | {"lease": own.lease + number, "ended_at": own.time + number, "dispatched_at": own.time + number - 1}
            for number, past in enumerate(state.get("attempts", ()))
        ]
        times = {name: own.time + 9 for name in ("accepted_at", "updated_at", "ended_at") if name in state}
        names = {"job": own.job, "tenant": own.tenant, "body_digest": own.digest}
        recipe = state["recipe"] | {"prompt": own.prompt}
        return orjson.dumps(state | times | names | {"stages": stages, "attempts": attempts, "recipe": recipe})

    def _put(self, job: str, value: bytes) -> None:
        self.records, self.bytes = self.records + 1, self.bytes + len(value)
        while True:
            try:
                self._producer.produce(self._topic, value, job, 0, headers=[*self._headers])
            except BufferError:
                self._producer.poll(0.1)
            else:
                return


# -- measuring -----------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """`none` and `many` differ in nothing but ended jobs; the log of `long` has all versions of each of its jobs."""

    none: Side
    many: Side
    long: Side
    gateway_s: float
    gateway_mib: float

    @property
    def rows(self) -> list[tuple[str, object, str]]:
        none, many, long = self.none, self.many, self.long
        return [
            ("ended jobs", many.records, ""),
            ("bytes of a record", many.bytes // many.records, ""),
            ("memory of a coordinator with none, MiB", Spread.of(none.memory), ""),
            ("with all of them, MiB", Spread.of(many.memory), ""),
            ("more memory, MiB", f"{median(many.memory) - median(none.memory):.0f}", "<= 150"),
            ("cold start until the cell is ours, with none, s", Spread.of(none.cold), ""),
            ("with all of them, s", Spread.of(many.cold), ""),
            ("a cold start takes longer by, s", f"{median(many.cold) - median(none.cold):.2f}", "<= 5"),
            ("orderly end of the active one until a standby has the cell, with none, s", Spread.of(none.followed), ""),
            ("with all of them, s", Spread.of(many.followed), ""),
            ("a standby takes longer by, s", f"{median(many.followed) - median(none.followed):.2f}", "<= 5"),
            (
                f"cold start with {long.records} records, {VERSIONS} of each of {long.records // VERSIONS} jobs, s",
                Spread.of(long.cold),
                "",
            ),
            ("gateway with an empty view until it is ready, s", f"{self.gateway_s:.1f}", "<= 15"),
            ("its memory then, MiB", f"{self.gateway_mib:.0f}", ""),
        ]

    def figures(self) -> dict[str, object]:
        return {what: str(figure) for what, figure, _ in self.rows}


def side(settings: Settings, name: str, jobs: int, versions: int = 1) -> Side:
    """A line of its own on the same broker, with so many ended jobs."""
    own = settings.model_copy(update={"topic_prefix": f"{name}.", "data_dir": settings.data_dir / name})
    topics.apply(own)
    records = Jobs(own)
    records.write(jobs, versions)
    return Side(own, records.records, records.bytes)


def ready_gateway(settings: Settings) -> tuple[float, float]:
    """Seconds until a gateway with an empty view is ready, and its MiB then."""
    service = Service(settings, "gateway", "gateway")
    start = time.monotonic()
    service.start()
    try:
        service.wait_ready(WITHIN_S)
        return time.monotonic() - start, resident(service)
    finally:
        service.kill()


def run(settings: Settings, jobs: int, rounds: int, long_jobs: int) -> Measured:
    """On a broker that is up."""
    none, many = side(settings, "none", 0), side(settings, "many", jobs)
    long = side(settings, "long", long_jobs, VERSIONS)
    for number in range(rounds):
        for each in (none, many):
            each.take_over_cold(number)
    for number in range(rounds):
        for each in (none, many):
            each.take_over_followed(number)
    long.take_over_cold(rounds)
    return Measured(none, many, long, *ready_gateway(many.settings))


def body_of(measured: Measured) -> str:
    return table(("what", "figure", "target"), measured.rows)
