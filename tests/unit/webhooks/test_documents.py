"""What docs/webhooks.md says of the schedule is so, and the example receives what the notifier sends."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path

from infra.local import ports
from schemas.webhooks import COMPLETED, EVENT_TYPES, event_id
from tests.contract.examples import JOB
from tests.support import eventually
from tests.unit.webhooks.samples import ROOT
from webhooks import secrets
from webhooks.address_policy import Gate
from webhooks.delivery import schedule
from webhooks.delivery.http import Answer, Poster
from webhooks.delivery.payload import JobEvent, body_of
from webhooks.delivery.resolver import Resolver
from webhooks.delivery.signing import signed

PROJECT = Path(__file__).resolve().parents[3]
PAGE = (PROJECT / "docs" / "webhooks.md").read_text()
UNITS = {"s": 1, "min": 60, "h": 3600}


def test_the_page_has_the_schedule_and_the_event_types_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) (s|min|h) \|$", PAGE, re.MULTILINE)
    assert [(int(number), int(count) * UNITS[unit]) for number, count, unit in rows] == [
        (number, delay) for number, delay in enumerate(schedule.DELAYS_S, 2)
    ]
    assert re.findall(r"^\| `(video\.\w+)` \|", PAGE, re.MULTILINE) == [*EVENT_TYPES]
    assert f"nothing at all goes to that\nreceiver for {schedule.PAUSE_S:g} s" in PAGE


def test_the_example_takes_what_is_signed_once_and_refuses_the_rest() -> None:
    [port], secret = ports.choose([0]), secrets.secret_of_tenant(ROOT, "acme")
    example = subprocess.Popen(
        [sys.executable, "examples/webhook_receiver.py"], cwd=PROJECT, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"SECRET": secret, "PORT": str(port)},
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/"
        eventually(lambda: send(url, secrets.secret_of_tenant(ROOT, "globex")).status == 400)
        assert [send(url, secret).status for _ in range(2)] == [204, 204]
    finally:
        example.terminate()
        output, _ = example.communicate(timeout=30)
    assert output == f"{COMPLETED} {JOB}\n"


def send(url: str, secret: str) -> Answer:
    async def posted() -> Answer:
        resolver = Resolver(10.0)
        poster = Poster(Gate.of("127.0.0.1:*"), 10.0, resolver, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        body = body_of(JobEvent(JOB, "acme", COMPLETED, time.time()), COMPLETED)
        try:
            return await poster.post(url, signed([secret], event_id(JOB, COMPLETED), body, time.time()), body)
        finally:
            await poster.close()
            await resolver.close()

    return asyncio.run(posted())
