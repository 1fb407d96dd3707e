"""The doors of a gateway, over real sockets: who gets the development key, and what two could read as two requests."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest

from streams.settings import DEFAULT_KEY
from tests.processes import Service

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_no_gateway_starts_beyond_loopback_with_the_key_that_everybody_knows(host: str) -> None:
    named = {"LATENTLINE_KAFKA_BOOTSTRAP": "127.0.0.1:9", "LATENTLINE_GATEWAY_HOST": host}
    argv = [sys.executable, "-m", "latentline", "gateway"]
    ended = subprocess.run(argv, env=os.environ | named, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert f"LATENTLINE_GATEWAY_HOST = {host}" in ended.stderr
    assert "LATENTLINE_GATEWAY_DEFAULT_KEY" in ended.stderr


@pytest.mark.parametrize(
    ("headers", "is_home"),
    [
        ({}, True), ({"host": "localhost"}, True), ({"host": "rebound.example"}, False),
        ({"origin": "https://evil.example"}, False), ({"origin": "null"}, False),
    ],
)  # fmt: skip
def test_the_development_key_is_for_this_machine(entrance: Service, headers: dict[str, str], is_home: bool) -> None:
    url = f"http://127.0.0.1:{entrance.settings.gateway_port}"
    told = httpx.get(f"{url}/page.json", headers=headers, timeout=30)
    assert told.json() == {"key": DEFAULT_KEY if is_home else ""}
    asked = httpx.post(
        f"{url}/v1/videos", headers=headers | {"authorization": f"Bearer {DEFAULT_KEY}"}, json={"prompt": "a circle"},
        timeout=30,
    )  # fmt: skip
    assert asked.status_code == (200 if is_home else 403)
