"""The doors of a gateway, over real sockets: who gets the development key, and what two could read as two requests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import httpx
import pytest

from runtime.settings import DEFAULT_KEY
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


def answered(entrance: Service, sent: bytes) -> tuple[list[int], bool]:
    """The statuses of all answers to these bytes, and whether the connection was closed then."""
    with socket.create_connection(("127.0.0.1", entrance.settings.gateway_port), timeout=5) as connection:
        connection.sendall(sent)
        answers = b""
        try:
            while piece := connection.recv(65536):
                answers += piece
        except TimeoutError:
            return statuses(answers), False
        except ConnectionResetError:
            pass
    return statuses(answers), True


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def request(*headers: str, version: str = "1.1", method: str = "POST") -> bytes:
    lines = (f"{method} /v1/videos HTTP/{version}", "host: 127.0.0.1", f"authorization: Bearer {DEFAULT_KEY}")
    return "\r\n".join((*lines, "content-type: application/json", *headers, "", "")).encode()


BODY = b'{"prompt": "a circle"}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
"""What would be answered as well if the end of the first request were seen before it."""
CHUNKS, LENGTH = "transfer-encoding: chunked", f"content-length: {len(CHUNKED)}"


@pytest.mark.parametrize(
    "head",
    [
        request(LENGTH, CHUNKS), request(CHUNKS, LENGTH), request("content-length: 0", CHUNKS),
        request(LENGTH, CHUNKS, method="GET"), request(CHUNKS, version="1.0"), request(LENGTH, CHUNKS, version="1.0"),
        request("content-length: 5", "content-length: 6"), request("content-length: 5, 6"),
        request("content-length: +5"), request("content-length : 5"),
        request("transfer-encoding: chunked, identity"), request("transfer-encoding: identity"),
        request("transfer-encoding: xchunked"), request("transfer-encoding: chunked", "transfer-encoding: chunked"),
        request("transfer-encoding : chunked"), request("transfer-encoding: \x0bchunked"),
        request("transfer-encoding: chunked", "content-length:"),
    ],
)  # fmt: skip
def test_a_request_that_two_could_read_as_two_is_refused_and_the_connection_closed(
    entrance: Service, head: bytes
) -> None:
    found, is_closed = answered(entrance, head + CHUNKED + SMUGGLED)
    assert is_closed
    assert len(found) == 1, found
    assert 400 <= found[0] < 500, found


@pytest.mark.parametrize("sent", [request(CHUNKS) + CHUNKED, request(f"content-length: {len(BODY)}") + BODY])
def test_a_length_that_is_said_once_is_believed(entrance: Service, sent: bytes) -> None:
    closing = request("connection: close", method="GET")
    assert answered(entrance, sent + closing) == ([200, 200], True)
