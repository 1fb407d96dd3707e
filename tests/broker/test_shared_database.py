"""Gateways that share one PostgreSQL give the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from pydantic import SecretStr

from infra.local import ports
from runtime.settings import DEFAULT_KEY
from tests.postgres import Postgres
from tests.processes import Service, services
from tests.support import eventually

pytestmark = [pytest.mark.broker, pytest.mark.long]


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def gateways(entrance: Service, server: Postgres) -> Iterator[list[httpx.Client]]:
    numbers = ports.choose([0, 0])
    database = {"gateway_database": SecretStr(server.url)}
    with ExitStack() as opened:
        running = []
        for number, name in zip(numbers, ("first", "second"), strict=True):
            settings = entrance.settings.model_copy(update=database | {"gateway_port": number})
            opened.enter_context(services(settings, **{name: "gateway"}))
            client = httpx.Client(
                base_url=f"http://127.0.0.1:{number}/v1", headers={"authorization": f"Bearer {DEFAULT_KEY}"}, timeout=30
            )
            running.append(opened.enter_context(client))
        yield running


def test_what_one_gateway_does_the_other_knows(gateways: list[httpx.Client]) -> None:
    first, second = gateways
    made = [first.post("/videos", json={"prompt": f"shared {number}"}).json()["id"] for number in range(10)]
    # A database that both read is as new for one as for the other.
    assert all(second.get(f"/videos/{job}").status_code == 200 for job in made)
    eventually(lambda: second.get("/videos?limit=10").json() == first.get("/videos?limit=10").json())
    assert [video["id"] for video in second.get("/videos?limit=10").json()["data"]] == made[::-1]
    again = second.post("/videos", json={"prompt": "once"}, headers={"idempotency-key": "shared"}).json()["id"]
    assert first.post("/videos", json={"prompt": "once"}, headers={"idempotency-key": "shared"}).json()["id"] == again
    assert second.delete(f"/videos/{made[0]}").status_code == 200
    assert first.get(f"/videos/{made[0]}").status_code == 404
