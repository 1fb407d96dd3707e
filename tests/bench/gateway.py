"""What the gateway costs and carries: `make bench-gateway`.

The real gateway process on a real broker, with 100,000 jobs in its read model; no coordinator and no worker, which
would share the cores. Creates alternate with those of a bare FastAPI route that only produces to the same broker.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import httpx
import orjson
import psutil
from confluent_kafka import Producer

from gateway.api.create import expected_state
from gateway.dependencies import Gateway
from infra.local import ports
from infra.local.plan import settings_in
from infra.local.stack import Stack
from runtime.settings import DEFAULT_KEY, Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.bundle import read_bundles
from schemas.events.artifacts import ArtifactRef, ObjectRef
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES
from schemas.stage_keys import job_id
from streams.kafka import clients
from streams.kafka.topics import JOBS, Topic
from tests.bench.load import Load, Request, percentile
from tests.bench.report import last_line, table, write_section
from tests.processes import Service, environment_of, services
from tests.support import eventually

TITLE = "The gateway"
WAITING = 1000
"""Of the jobs; the rest have completed."""
RATE, RETRIEVES, LISTS, PAIRS, SPEED_S = 200, 3000, 300, 300, 4.0


@dataclass
class Line:
    """The part of a coordinator that a gateway sees: its topics."""

    settings: Settings
    producer: Producer

    @classmethod
    def of(cls, settings: Settings) -> Line:
        return cls(settings, clients.producer(clients.PRODUCER, settings))

    def say(self, topic: Topic, key: str, event: Frozen) -> None:
        value, headers = envelope.write(event, id=key, source="bench", time=time.time())
        while True:
            try:
                return self.producer.produce(topic.named(self.settings.topic_prefix), value, key, 0, headers=[*headers])
            except BufferError:
                self.producer.poll(0.1)

    def fill(self, numbers: range) -> None:
        for state in (state_of(self.settings, number, number >= numbers.stop - WAITING) for number in numbers):
            self.say(JOBS, state.job, state)
        self.producer.flush()


BUNDLES = read_bundles([Path("bundles/tiny")])


def name_of(number: int) -> str:
    return job_id("default", str(number))


def state_of(settings: Settings, number: int, waits: bool, version: int = 14) -> JobState:
    prompt = PromptSubmitted(prompt=f"a red square, take {number}", idempotency_key=str(number), seed=number)
    gateway = cast(Gateway, SimpleNamespace(bundles=BUNDLES, settings=settings))
    state = expected_state(gateway, prompt, name_of(number))
    at = time.time() - 1e6 + number
    if waits:
        return state.model_copy(update={"accepted_at": at, "updated_at": at, "version": version})
    ref = ArtifactRef(stage=STAGES[0], key="k" * 64, manifest_key="m" * 64, etag="e" * 32)
    file = ObjectRef(name="video", key=f"videos/{state.job}/video.mp4", size=50_000, sha256="0" * 64)
    done = {"artifact": ref, "dispatches": 1, "seconds": 1.0, "worker": "w"}
    stages = {stage: record.model_copy(update=done) for stage, record in state.stages.items()}
    ended = {"status": JobStatus.COMPLETED, "stage": None, "ended_at": at, "video": file, "poster": file}
    more = {"accepted_at": at, "updated_at": at, "version": version, "stages": stages, **ended}
    return state.model_copy(update=more)


def filled(line: Line, gateway: Service, jobs: int) -> dict[str, float]:
    """Megabytes that the gateway holds as its read model grows, and jobs that it takes in a second."""
    process = psutil.Process(pid_of(gateway))
    early, began = jobs // 5, time.perf_counter()
    line.fill(range(early))
    base = f"http://127.0.0.1:{gateway.settings.gateway_port}/v1/videos"

    def has(number: int) -> bool:
        answer = httpx.get(f"{base}/{name_of(number)}", headers={"authorization": f"Bearer {DEFAULT_KEY}"})
        return answer.status_code == 200

    eventually(lambda: has(early - 1), 120, 0.2)
    at_first = process.memory_info().rss / 2**20
    line.fill(range(early, jobs))
    eventually(lambda: has(jobs - 1), 180, 0.2)
    rate = jobs / (time.perf_counter() - began)
    return {"mib_at_fifth": at_first, "mib_at_all": process.memory_info().rss / 2**20, "fed_per_s": rate}


def pid_of(service: Service) -> int:
    assert service.popen is not None
    return service.popen.pid


def create_of(number: int) -> Request:
    return Request("/v1/videos", orjson.dumps({"prompt": f"a blue circle, take {number}", "size": "64x64"}))


@dataclass
class Creates:
    """Seconds of each, one after the other in turns; then how many a second each side makes of 16 clients at once."""

    ours: list[float] = field(default_factory=list)
    keyed: list[float] = field(default_factory=list)
    """Ours again, with an idempotency key that has to be looked for."""
    bare: list[float] = field(default_factory=list)
    our_rate: float = 0.0
    bare_rate: float = 0.0


async def creates(gateway: int, bare: int) -> Creates:
    found = Creates()
    async with Load(gateway) as ours, Load(bare) as theirs:
        for number in range(-20, PAIRS):
            asked = create_of(number)
            turn = (ours, asked, found.ours), (theirs, asked, found.bare), (ours, keyed(asked, number), found.keyed)
            for load, request, seconds in turn:
                taken = await load.timed(request)
                if number >= 0:
                    seconds.append(taken)
        found.our_rate = await ours.at_full_speed(create_of, 16, SPEED_S)
        found.bare_rate = await theirs.at_full_speed(create_of, 16, SPEED_S)
    return found


def keyed(request: Request, number: int) -> Request:
    return replace(request, key=f"bench {number}")


async def reads(port: int, jobs: int) -> tuple[list[float], list[float]]:
    def retrieve(number: int) -> Request:
        return Request(f"/v1/videos/{name_of(number * 31 % jobs)}")

    def page(number: int) -> Request:
        return Request("/v1/videos?limit=20" + ("" if number % 2 else f"&after={name_of(number * 331 % jobs)}"))

    async with Load(port) as load:
        retrieves = await load.at_rate(retrieve, RATE, RETRIEVES)
        return retrieves, [await load.timed(page(number)) for number in range(LISTS)]


@dataclass
class Fan:
    opened: int
    idle_cpu: float
    """Share of one core that all streams take while nothing happens."""
    heard_s: list[float]


async def fan_out(gateway: Service, line: Line, streams: int, jobs: int) -> Fan:
    """So many streams of one job; then its state changes."""
    number = jobs - 1
    process = psutil.Process(pid_of(gateway))
    request = Request(f"/v1/videos/{name_of(number)}/events").to_bytes()

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.settings.gateway_port)
        writer.write(request)
        await reader.readuntil(b"event: status")
        return reader, writer

    every = []
    for _ in range(0, streams, 50):
        every += await asyncio.gather(*(opened() for _ in range(50)))
    used, began = sum(process.cpu_times()[:2]), time.perf_counter()
    await asyncio.sleep(6)
    idle = (sum(process.cpu_times()[:2]) - used) / (time.perf_counter() - began)
    changed = state_of(line.settings, number, True, version=15)
    said = time.perf_counter()
    line.say(JOBS, changed.job, changed)
    await asyncio.to_thread(line.producer.flush)

    async def heard(reader: asyncio.StreamReader) -> float:
        while b"id: 15." not in await reader.readline():
            pass
        return time.perf_counter() - said

    times = await asyncio.wait_for(asyncio.gather(*(heard(reader) for reader, _ in every)), 60)
    for _, writer in every:
        writer.close()
    return Fan(len(every), idle, list(times))


@contextmanager
def bare_route(settings: Settings) -> Iterator[int]:
    [port] = ports.choose([0])
    environment = {**os.environ, **environment_of(settings)}
    with psutil.Popen([sys.executable, "-m", "tests.bench.bare", str(port)], env=environment) as process:
        try:
            eventually(lambda: is_up(port))
            yield port
        finally:
            process.kill()


def is_up(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/v1/videos", content=create_of(0).body).status_code == 200
    except httpx.TransportError:
        return False


def measure(settings: Settings, jobs: int, streams: int) -> tuple[dict[str, object], str]:
    own = {"gateway_port": ports.choose([0])[0], "gateway_rate": "", "gateway_create_rate": "", "gateway_streams": 5000}
    line = Line.of(settings)
    with services(settings.model_copy(update=own), gateway="gateway") as running, bare_route(settings) as bare:
        gateway = running["gateway"]
        memory = filled(line, gateway, jobs)
        gc.freeze()
        retrieves, lists = asyncio.run(reads(gateway.settings.gateway_port, jobs))
        fan = asyncio.run(fan_out(gateway, line, streams, jobs))
        made = asyncio.run(creates(gateway.settings.gateway_port, bare))
    figures: dict[str, object] = {
        "create_ratio": round(percentile(made.ours, 50) / percentile(made.bare, 50), 2),
        "retrieve_p99_ms": round(percentile(retrieves, 99), 1),
        "sse_streams": fan.opened,
        "list_p99_ms": round(percentile(lists, 99), 1),
    }
    rows = [
        ("create, ms (P50, P99)", pair(made.ours), ""),
        ("create with an idempotency key, ms", pair(made.keyed), ""),
        ("the bare route's, ms", pair(made.bare), ""),
        ("create / bare route, at P50", figures["create_ratio"], "<= 2"),
        ("creates a second, 16 clients", round(made.our_rate), ""),
        ("the bare route's", round(made.bare_rate), ""),
        (f"retrieve at {RATE} a second, ms (P50, P99)", pair(retrieves), "P99 <= 20"),
        ("list of 20, ms (P50, P99)", pair(lists), "P99 <= 20"),
        ("event streams open at once", fan.opened, "1000"),
        ("CPU while they are open, cores", f"{fan.idle_cpu:.2f}", "< 1"),
        ("a change reaches every stream, ms (P50, P99)", pair(fan.heard_s), ""),
        ("jobs in the read model", jobs, ""),
        ("jobs read into it a second", round(memory["fed_per_s"]), ""),
        ("memory at a fifth of them, at all of them, MiB",
         f"{memory['mib_at_fifth']:.0f}, {memory['mib_at_all']:.0f}", "flat"),
    ]  # fmt: skip
    return figures, table(("figure", "measured", "target"), rows)


def pair(seconds: list[float]) -> str:
    return f"{percentile(seconds, 50):.1f}, {percentile(seconds, 99):.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--no-page", action="store_true", help="leave docs/benchmarks.md alone")
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder))
        stack.up(services=(), any_ports=True, stays=False)
        try:
            own = {"data_dir": Path(folder) / "bench"}
            settings = settings_in(stack.environment(), Settings()).model_copy(update=own)
            figures, body = measure(settings, asked.jobs, asked.streams)
        finally:
            stack.down(wipe=True)
    if not asked.no_page:
        write_section(TITLE, "make bench-gateway", body)
    print(body)
    print(last_line(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
