"""A real server on a real port, asked by a real client."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime import health, metrics
from runtime.settings import Settings
from tests.support import eventually


class Service:
    """What a service knows about its own readiness."""

    reason: str | None = None

    def ready(self) -> str | None:
        if self.reason == "broken":
            raise RuntimeError("cannot tell")
        return self.reason


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[health.HealthServer]:
    with health.serve(Settings(metrics_port=0), metrics.registry_of("coordinator"), service.ready) as server:
        yield server


def get(server: health.HealthServer, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, (200, "ready\n")),
        ("the model is not loaded", (503, "the model is not loaded\n")),
        ("broken", (503, "the readiness check failed: RuntimeError\n")),
    ],
)
def test_healthz_says_ready_or_why_not(
    server: health.HealthServer, service: Service, reason: str | None, expected: tuple[int, str]
) -> None:
    service.reason = reason
    assert get(server, "/healthz") == expected


def test_metrics_are_those_of_its_registry(server: health.HealthServer) -> None:
    metrics.JOBS_WAITING.labels(stage="encode").set(3)
    status, text = get(server, "/metrics?name=ignored")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert status == 200
    assert samples["latentline_jobs_waiting", "encode"] == 3
    metrics.clear(metrics.CELL_GAUGES)


def test_anything_else_is_not_found(server: health.HealthServer) -> None:
    assert get(server, "/")[0] == 404


def test_a_silent_client_holds_nobody_up(server: health.HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server, "/healthz")[0] == 200


def test_a_client_that_hangs_up_is_no_news(
    server: health.HealthServer, service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    asking, answering, before = threading.Event(), threading.Event(), set(threading.enumerate())

    def slow() -> str | None:
        asking.set()
        answering.wait(10)
        # More than any buffer holds, so that the answer meets the closed connection.
        return "x" * 50_000_000

    server.ready = slow
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert asking.wait(10)
        # Closing with a linger of zero resets the connection instead of ending it.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    answering.set()
    server.ready = service.ready
    assert get(server, "/healthz")[0] == 200
    eventually(lambda: not [new for new in set(threading.enumerate()) - before if new.name.startswith("Thread-")])
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_taken_port_is_an_error_and_a_closed_server_frees_its_port(service: Service) -> None:
    registry = metrics.registry_of("views")
    first = health.serve(Settings(metrics_port=0), registry, service.ready)
    taken = Settings(metrics_port=first.port)
    with pytest.raises(OSError, match="in use"):
        health.serve(taken, registry, service.ready)
    first.close()
    health.serve(taken, registry, service.ready).close()
