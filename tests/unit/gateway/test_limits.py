"""What a client may take of a gateway: rates, sizes, time; and what it may ask for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.requests import Request

from gateway.api.prefer import preferred_wait, waited
from gateway.api_keys import UnsafeSettings
from gateway.cors import shared
from gateway.dependencies import Gateway
from gateway.rate_limits import Rates
from gateway.read_model.rows import Row
from gateway.server import middleware
from gateway.server.middleware import Outer
from runtime.settings import DEFAULT_KEY, Settings
from schemas.job import JobStatus
from tests.unit.gateway.samples import NOW, SOME, asked, job, taken

JSON = {"content-type": "application/json"}


def test_a_tenant_that_asks_too_often_is_told_when_to_come_back(gateway: Gateway) -> None:
    limited = replace(gateway, rates=Rates(Settings(gateway_rate="3/minute", gateway_create_rate="")))
    answers = [asked(limited, "GET", SOME) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    last = answers[-1]
    assert (last.json()["error"]["code"], last.json()["error"]["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert last.headers["x-should-retry"] == "true"
    assert 1 <= int(last.headers["retry-after"]) <= 60
    limited.rates.request("another tenant")


def test_creates_have_a_rate_of_their_own(gateway: Gateway) -> None:
    limited = replace(gateway, rates=Rates(Settings(gateway_create_rate="1/hour;100/day")))
    wrong = {"prompt": "a", "size": "63x64"}
    answers = [asked(limited, "POST", "/v1/videos", json=wrong).status_code for _ in range(2)]
    assert [*answers, asked(limited, "GET", SOME).status_code] == [400, 429, 404]


def test_a_rate_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UnsafeSettings, match="LATENTLINE_GATEWAY_CREATE_RATE = often"):
        Rates(Settings(gateway_create_rate="often"))


def test_a_body_that_says_it_is_too_large_is_not_read(gateway: Gateway) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 65536

    declared = asked(gateway, "POST", "/v1/videos", content=endless(), headers=JSON | {"content-length": str(2**30)})
    assert (declared.status_code, declared.json()["error"]["code"], read) == (413, "request_too_large", 0)
    counted = asked(gateway, "POST", "/v1/videos", content=endless(), headers=JSON)
    assert (counted.status_code, counted.headers["connection"]) == (413, "close")
    assert read <= 8 * 1024**2 / 65536 + 1


def test_a_body_that_does_not_come_is_not_waited_for(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_WITHIN_S", 0.1)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    for path in ("/v1/videos", f"{SOME}/remix"):
        taken(gateway.model, job())
        late = asked(gateway, "POST", path, content=never(), headers=JSON)
        assert (late.status_code, late.json()["error"]["code"]) == (408, "request_timeout")


def asked_from(origin: str, origins: str, method: str = "OPTIONS") -> httpx.Response:
    async def ask() -> httpx.Response:
        from starlette.responses import PlainTextResponse

        app = Outer(shared(PlainTextResponse("there"), Settings(gateway_cors_origins=origins)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
            return await client.request(method, "/v1/videos", headers={"origin": origin, **wanted})

    return asyncio.run(ask())


def test_only_named_origins_may_ask() -> None:
    mine, other = "https://studio.example", "https://evil.example"
    allowed = asked_from(mine, f"{mine}, https://second.example")
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, mine)
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    assert "openai-poll-after-ms" in asked_from(mine, mine, "GET").headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    for refused in (asked_from(other, mine), asked_from(mine, "")):
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("wait=5", 5), ("respond-async, wait=10", 10), ('wait="7"; foo', 7), ("WAIT = 3", 3), ("wait=9999", 60),
        ("", None), ("wait", None), ("wait=x", None), ("wait=-1", None), ("await=5", None), ("wait=1.5", None),
    ],
)  # fmt: skip
def test_how_long_a_client_prefers_to_wait(sent: str, seconds: int | None) -> None:
    request = Request({"type": "http", "headers": [(b"prefer", sent.encode())]})
    assert preferred_wait(request) == seconds


def test_waiting_ends_with_the_job_or_with_the_time(gateway: Gateway) -> None:
    state, caller = job(), gateway.keys.caller_of(DEFAULT_KEY)
    taken(gateway.model, state)
    assert caller is not None

    async def wait() -> tuple[Row, Row]:
        gateway.changes.open()
        first = await waited(gateway, caller, Row(state, 1), 0)
        waiting = asyncio.create_task(waited(gateway, caller, Row(state, 1), 60))
        await asyncio.sleep(0)
        ended = state.model_copy(update={"status": JobStatus.CANCELLED, "ended_at": NOW, "version": 2})
        await asyncio.to_thread(taken, gateway.model, ended)
        gateway.changes.tell([state.job])
        return first, await waiting

    began = time.monotonic()
    early, late = asyncio.run(wait())
    assert (early.state.status, late.state.status) == (JobStatus.WAITING, JobStatus.CANCELLED)
    assert time.monotonic() - began < 30
