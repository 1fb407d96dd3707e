"""`python -m tests.chaos.run --seed 1 --jobs 500 --minutes 20`: chaos on a real local stack, then the audit.

The last line is one JSON object. The exit code is 1 if a job was lost or ended twice, if the audit finds a breach, or
if what the run left behind holds a secret.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import SystemRandom
from tempfile import mkdtemp

from confluent_kafka import Producer

from infra.local.plan import Plan, settings_in
from infra.local.services import FIRST_PORT, Service, services
from infra.local.stack import Stack
from latentline import line as command_line
from operations.audit.report import Report
from operations.audit.run import audit
from runtime.settings import Settings
from schemas import envelope
from schemas.events.completions import JobFailed
from stages.storage.artifacts import ArtifactStore
from streams.kafka import clients
from streams.kafka.topics import PROMPTS
from tests.bench.report import RELIABILITY, last_line, write_section
from tests.chaos import deletes
from tests.chaos.again import STORE
from tests.chaos.deletes import Deleted, Deletes, before_delete
from tests.chaos.hostile import TENANT as HOSTILE
from tests.chaos.hostile import Attack, Harm, Hostile, attacks
from tests.chaos.measure import ends_of, recoveries, standstill, work
from tests.chaos.outputs import spoil, spoilt_of
from tests.chaos.result import Result
from tests.chaos.schedule import OUTPUT_KINDS, Fault, schedule
from tests.chaos.store import harm, heal
from tests.chaos.told import Ears, Told, configure, told_of
from tests.chaos.victims import COORDINATORS, Hit, resume, strike
from tests.chaos.watch import Watch, Watched
from tests.chaos.workload import TENANTS, Order, workload
from tests.proxy import Proxy
from tests.receiver import endless_continue
from tests.secrets import command_lines, leaks, records, secrets_of

SENDING, FAULTS = 0.6, 0.75
"""Shares of the given minutes in which prompts are sent and faults hit; the rest is for what is left to end."""
START_S = 180.0
"""A machine that is busy with other things starts a line slowly."""
PATIENCE_S = 300.0
"""After the given minutes: how long the last jobs may take to end."""


@dataclass
class Chaos:
    """A run under way."""

    stack: Stack
    store: Proxy
    ears: Ears
    settings: Settings
    orders: list[Order]
    faults: list[Fault]
    artifacts: ArtifactStore
    attacks: list[Attack]
    hostile: Hostile
    deletes: Deletes
    sent: dict[str, float] = field(default_factory=dict)
    """When the prompt of each job was sent first, unix seconds."""
    hits: list[Hit] = field(default_factory=list)
    stopped: list[Hit] = field(default_factory=list)
    seen: Watched = field(default_factory=Watched)
    deleted: Deleted = field(default_factory=Deleted)

    @property
    def asked(self) -> set[str]:
        return {order.job for order in self.orders if order.job}

    @property
    def told(self) -> Told:
        return told_of(self.ears.news, self.seen.completions)

    def run(self, seconds: float) -> None:
        """Send, strike, and wait until every job has ended and been told of, or patience has ended."""
        self.ears.listen(self.settings)
        watch = Watch(self.settings)
        self.seen = watch.seen
        # A prompt waits for the broker as long as it takes: what was asked for is what must end.
        producer = clients.producer(clients.PRODUCER, self.settings, message_timeout_ms=0)
        start, orders, faults, harm = time.monotonic(), list(self.orders), list(self.faults), list(self.attacks)
        while orders or faults or harm or self.stopped or not self._is_over(start, seconds):
            now = time.monotonic() - start
            orders = self._send(producer, orders, now)
            faults = self._strike(faults, now)
            harm = self._attack(harm, now)
            self._delete(producer)
            self._resume()
            watch.look()
        watch.close()
        self.hostile.close()
        self.deleted = self.deletes.close(self.seen.histories)

    def _is_over(self, start: float, seconds: float) -> bool:
        if time.monotonic() - start > seconds + PATIENCE_S:
            return True
        is_told = self.asked <= self.seen.ended and not self.told.untold
        return is_told and self.deletes.are_over(self.seen.completions)

    def _send(self, producer: Producer, orders: list[Order], now: float) -> list[Order]:
        for order in orders:
            if order.at > now:
                break
            topic = PROMPTS.named(self.settings.topic_prefix)
            producer.produce(topic, order.value, order.id, headers=[*order.headers])
            if order.job and not order.cancels:
                self.sent.setdefault(order.job, time.time())
        producer.poll(0)
        return [order for order in orders if order.at > now]

    def _delete(self, producer: Producer) -> None:
        topic, now = PROMPTS.named(self.settings.topic_prefix), time.time()
        for delete in self.deletes.due(self.seen.completions, now):
            value, headers = envelope.write(delete, id=f"delete-{delete.job}", source="chaos", time=now)
            producer.produce(topic, value, delete.job, headers=[*headers])
        self.deletes.search(self.seen.histories)

    def _strike(self, faults: list[Fault], now: float) -> list[Fault]:
        if not faults or faults[0].at > now:
            return faults
        hit = self._hit(faults[0], time.time())
        say(f"{now:6.1f} s  {faults[0].kind.name} {' '.join(hit.victims) if hit else '(nobody there)'}")
        if hit:
            self.hits.append(hit)
            self.stopped += [hit] if hit.fault.seconds else []
        return faults[1:]

    def _attack(self, attacks: list[Attack], now: float) -> list[Attack]:
        if not attacks or attacks[0].at > now:
            return attacks
        say(f"{now:6.1f} s  {HOSTILE}: {attacks[0].name}")
        self.hostile.strike(attacks[0])
        return attacks[1:]

    @property
    def harm(self) -> Harm:
        """What the hostile tenant did, and what it cost the others."""
        return Harm(
            sent=tuple(self.hostile.sent),
            unsent=tuple(self.hostile.unsent),
            faults=tuple(self.hostile.faults),
            standstill=standstill(self.sent, self.seen.histories, time.time()),
        )

    def _hit(self, fault: Fault, now: float) -> Hit | None:
        if fault.kind in OUTPUT_KINDS:
            return spoil(self.artifacts, fault, now, self.seen.histories)
        return harm(self.store, fault, now) if fault.kind.what == "store" else strike(self.stack, fault, now)

    def _resume(self) -> None:
        for hit in [hit for hit in self.stopped if time.time() - hit.at >= hit.fault.seconds]:
            resume(hit)
            if hit.fault.kind.what == "store":
                heal(self.store, hit.fault)
            self.stopped.remove(hit)


@contextmanager
def a_stack() -> Iterator[tuple[Stack, Proxy]]:
    """Two coordinators and two denoise workers, behind a relay to the store; the folder stays where it went wrong."""
    os.environ["LATENTLINE_THREADS"] = "1"
    configure()
    deletes.configure()
    folder = Path(mkdtemp(prefix="latentline-chaos-"))
    stack = Stack(folder)
    say(f"starting a line in {folder}")
    # Drawn now: `up` keeps the ports of the last time, and the relay must know the store's before anybody asks.
    plan = Plan.draw(folder, chaotic_services(), any_ports=True)
    plan.save()
    with Proxy(f"127.0.0.1:{plan.ports['minio']}") as store:
        os.environ[STORE] = store.address
        stack.up(services=chaotic_services(), any_ports=True, seconds=START_S, stays=False)
        try:
            yield stack, store
        finally:
            stack.down()


def chaotic_services() -> tuple[Service, ...]:
    """Each is started again however it ends: a process that is told to leave would stay away otherwise."""
    line = services(workers={"denoise": 2})
    standby = Service(COORDINATORS[1], ("coordinator",), FIRST_PORT + len(line))
    return tuple(replace(service, module="tests.chaos.again") for service in (*line, standby))


def result_of(seed: int, chaos: Chaos, report: Report, leaked: list[str]) -> Result:
    seen = chaos.seen
    ends = [end for end in seen.completions if end.tenant in TENANTS]
    latest = [before_delete(history) for history in seen.histories.values()]
    wrong = {order.job for order in chaos.orders if order.id.endswith("-wrong")}
    failures = [
        f"{end.job}: {end.error.code}: {end.error.message}"
        for end in ends
        if isinstance(end, JobFailed) and end.job not in wrong
    ]
    report, spoilt = spoilt_of(report, chaos.hits, latest)
    return Result(
        seed, ends_of(chaos.asked, ends), work(latest, seen.steps),
        recoveries(chaos.hits, seen.histories), chaos.hits, failures, report, leaked, chaos.told, spoilt, chaos.harm,
        chaos.deleted,
    )  # fmt: skip


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="without it one is drawn")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--no-page", action="store_true", help="leave docs/reliability.md alone")
    parser.add_argument("--keep", action="store_true", help="leave logs and data also where all went well")
    asked = parser.parse_args()
    logging.basicConfig(handlers=[logging.NullHandler()])
    seed = SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    command = f"make chaos SEED={seed} JOBS={asked.jobs} MINUTES={asked.minutes:g}"
    say(f"seed {seed}; the same again: {command}")
    with a_stack() as (stack, store), Ears(seed) as ears, endless_continue() as endless:
        result = run(stack, store, ears, endless, seed, asked.jobs, asked.minutes * 60)
    tell(result)
    if result.is_ok and not result.failures and not asked.keep:
        stack.down(wipe=True)
    else:
        say(f"logs and data: {stack.data}")
    if not asked.no_page:
        title = f"Chaos, seed {seed}: {asked.jobs} prompts in {asked.minutes:g} minutes"
        write_section(title, command, result.tables(), RELIABILITY)
    print(last_line(result.figures()))
    return 0 if result.is_ok else 1


def run(stack: Stack, store: Proxy, ears: Ears, endless: str, seed: int, jobs: int, seconds: float) -> Result:
    settings = settings_in(stack.environment(), Settings())
    orders, faults = workload(seed, jobs, SENDING * seconds), schedule(seed, FAULTS * seconds)
    artifacts, searched = (replace(command_line.store(settings), attempts=1) for _ in range(2))
    harm, removals = attacks(seed, FAULTS * seconds), Deletes(deletes.drawn(seed, orders), searched)
    chaos = Chaos(stack, store, ears, settings, orders, faults, artifacts, harm, Hostile(settings, endless), removals)
    chaos.run(seconds)
    say("auditing")
    left_behind = {**records(settings), **command_lines(stack.data)}
    leaked = leaks(stack.data, left_behind, [*secrets_of(stack.data), *ears.secrets])
    return result_of(seed, chaos, audit(settings, command_line.store(settings)), leaked)


def tell(result: Result) -> None:
    print(result.tables(), flush=True)
    for what in result.harm.unsent:
        say(f"an attack could not be made: {what}")
    for what in result.failures:
        say(f"a healthy job failed: {what}")
    for what in result.broken():
        say(f"BROKEN: {what}")


if __name__ == "__main__":
    sys.exit(main())
