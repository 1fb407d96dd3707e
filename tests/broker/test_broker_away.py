"""The broker goes away in the middle of many creates: every answer is true, and each call is one job."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from infra.local import ports
from infra.local.stack import Stack
from runtime.settings import DEFAULT_KEY
from schemas.events.prompts import PromptSubmitted
from schemas.stage_keys import job_id
from streams.kafka.topics import JOBS, PROMPTS
from tests.conftest import new_line
from tests.processes import QUICK, Service, services, states_of, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

CALLS, AT_ONCE = 150, 30
"""How many calls, and how many clients make them."""
FROZEN_AT, KILLED_AT = 40, 90
"""After so many answers the broker goes."""


@pytest.fixture
def gateway(lonely: Stack, tmp_path: Path) -> Iterator[Service]:
    own = QUICK | {"gateway_port": ports.choose([0])[0], "gateway_rate": "", "gateway_create_rate": ""}
    with services(new_line(lonely, tmp_path).model_copy(update=own), gateway="gateway") as running:
        yield running["gateway"]


@dataclass
class Calls:
    """Calls of clients who ask again as they are told to: half with a key of their own, half as the official one."""

    http: httpx.AsyncClient
    jobs: dict[str, str] = field(default_factory=dict)
    """The job of each call, by the words that it asked with."""
    refused: int = 0

    async def one(self, number: int) -> None:
        words, headers = f"a red circle, take {number}", {}
        if number % 2:
            headers["idempotency-key"] = f"call {number}"
        answer = await self.http.post("/videos", json={"prompt": words}, headers=headers)
        while answer.status_code != 200:
            self.refused += 1
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "temporarily_unavailable")
            assert answer.headers["x-should-retry"] == "true"
            await asyncio.sleep(int(answer.headers["retry-after"]))
            headers["x-stainless-retry-count"] = "1"
            answer = await self.http.post("/videos", json={"prompt": words}, headers=headers)
        self.jobs[words] = job = answer.json()["id"]
        assert (await self.http.get(f"/videos/{job}")).status_code == 200

    async def all(self) -> None:
        numbers = iter(range(CALLS))

        async def client() -> None:
            for number in numbers:
                await self.one(number)

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def goes_away(broker: int, calls: Calls) -> None:
    """First it answers nobody until somebody has been refused, then it dies and its keeper starts it again."""
    await reached(lambda: len(calls.jobs) >= FROZEN_AT)
    os.kill(broker, signal.SIGSTOP)
    try:
        await reached(lambda: calls.refused > 0)
    finally:
        os.kill(broker, signal.SIGCONT)
    await reached(lambda: len(calls.jobs) >= KILLED_AT)
    os.kill(broker, signal.SIGKILL)


async def called(gateway: Service, broker: int) -> Calls:
    base = f"http://127.0.0.1:{gateway.settings.gateway_port}/v1"
    headers = {"authorization": f"Bearer {DEFAULT_KEY}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=20) as http:
        calls = Calls(http)
        await asyncio.gather(calls.all(), goes_away(broker, calls))
        return calls


def test_each_call_is_one_durable_job_whatever_becomes_of_the_broker(lonely: Stack, gateway: Service) -> None:
    calls = asyncio.run(called(gateway, lonely.status()["pids"]["kafka"]))
    wanted = {job: words for words, job in calls.jobs.items()}
    assert len(calls.jobs) == len(wanted) == CALLS
    with tail(gateway.settings, PROMPTS) as prompts:

        def asked() -> dict[str, str]:
            events = [event for event in prompts.events() if isinstance(event, PromptSubmitted)]
            return {job_id(event.tenant, event.idempotency_key or ""): event.prompt for event in events}

        eventually(lambda: wanted.items() <= asked().items())
        assert asked() == wanted
    with services(gateway.settings, coordinator="coordinator"), tail(gateway.settings, JOBS) as jobs:
        eventually(lambda: len(states_of(jobs.events())) >= CALLS)
        states = states_of(jobs.events()).values()
    assert Counter(state.recipe and state.recipe.prompt for state in states) == Counter(wanted.values())
